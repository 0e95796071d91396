/* The version, in one place; the Makefile reads it too. */
#ifndef PARE_BASE_VERSION_H
#define PARE_BASE_VERSION_H

#define VERSION "0.1.0"

#endif
