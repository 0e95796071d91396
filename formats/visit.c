#include "formats/visit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static const void *member(const ProtobufCMessage *m, unsigned offset)
{
    return (const uint8_t *)m + offset;
}

Status visit_messages(ProtobufCMessage *root, const ProtobufCMessageDescriptor *type, Status (*each)(ProtobufCMessage *, void *),
                      void *context)
{
    if (root->descriptor == type) TRY(each(root, context));
    for (unsigned i = 0; i < root->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &root->descriptor->fields[i];
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)member(root, f->quantifier_offset);
            ProtobufCMessage *const *children = *(ProtobufCMessage *const *const *)member(root, f->offset);
            for (size_t k = 0; k < count; k++) TRY(visit_messages(children[k], type, each, context));
            continue;
        }
        bool chosen = !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || *(const uint32_t *)member(root, f->quantifier_offset) == f->id;
        ProtobufCMessage *child = chosen ? *(ProtobufCMessage *const *)member(root, f->offset) : NULL;
        if (child != NULL) TRY(visit_messages(child, type, each, context));
    }
    return OK;
}
