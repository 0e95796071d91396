/* The formats, in the order in which they are tried. */
#ifndef PARE_FORMATS_LIST_H
#define PARE_FORMATS_LIST_H

/* X(entry): `extern const Format entry` closes the file of that format. */
#define FORMAT_LIST(X) \
    X(format_onnx)

#endif
