/* Walks decoded messages by their descriptors. */
#ifndef PARE_FORMATS_VISIT_H
#define PARE_FORMATS_VISIT_H

#include "base/status.h"

#include <protobuf-c/protobuf-c.h>

/* Calls `each` for every message of type `type` in the tree, parents first, until one fails. Recursion is as deep as the messages,
 * which the scanner bounds. */
Status visit_messages(ProtobufCMessage *root, const ProtobufCMessageDescriptor *type, Status (*each)(ProtobufCMessage *, void *),
                      void *context);

#endif
