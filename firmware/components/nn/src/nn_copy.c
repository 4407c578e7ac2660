/* Movement of data without arithmetic. */
#include "earmark/nn.h"

#include <string.h>

static void copy_inner(const em_copy_t *l, uint32_t dim, const uint8_t *src, uint8_t *dst) {
    for (uint32_t i = 0; i < l->dims[dim]; i++) {
        if (dim + 1 == EM_COPY_DIMS) {
            memcpy(dst, src, l->block_bytes);
        } else {
            copy_inner(l, dim + 1, src, dst);
        }
        src += l->src_stride[dim];
        dst += l->dst_stride[dim];
    }
}

void em_copy(const em_copy_t *layer, const void *src, void *dst) {
    copy_inner(layer, 0, (const uint8_t *)src + layer->src_offset,
               (uint8_t *)dst + layer->dst_offset);
}
