/* The one place of the program's version. */
#ifndef PARE_BASE_VERSION_H
#define PARE_BASE_VERSION_H

#define PARE_VERSION "0.1.0"

#endif
