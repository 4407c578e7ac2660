/* Status codes shared by every portable Earmark component. */
#ifndef EARMARK_STATUS_H
#define EARMARK_STATUS_H

typedef enum {
    EM_OK = 0,
    EM_ERR_ARGUMENT, /* a null pointer or a value outside its documented range */
    EM_ERR_SIZE,     /* a caller-owned buffer is too small or misaligned */
    EM_ERR_STATE,    /* called in the wrong order */
    EM_ERR_MISMATCH, /* front-end hash, labels or shapes do not belong together */
    EM_ERR_FORMAT,   /* input bytes do not parse */
    EM_ERR_IO,       /* storage or network refused */
    EM_ERR_FULL,     /* a bounded queue has no room */
    EM_ERR_SELF_TEST /* a golden vector was not reproduced */
} em_status_t;

#endif
