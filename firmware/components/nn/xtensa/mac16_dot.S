/* Dot products of one output channel with many pixels: the channel's constants stay in registers. */
#include "mac16_requantize.inc"

/* void NAME(const int16_t *x, const int16_t *weights, int8_t *out, const em_mac16_channel_t *channel)
 *
 * Four multiplications per four instructions: every load is folded into a multiplication one step
 * ahead. m0, m1 hold activations, m2, m3 weights. The last group is peeled to rewind the weights for
 * the next pixel, whose first operands it already loads. */
	.macro	dot name, relu
	.section .text.\name, "ax", @progbits
	.p2align 2
	.global	\name
	.type	\name, @function
\name:
	entry	a1, 32
	l32i	a6, a5, GROUPS
	l32i	a7, a5, N
	l32i	a8, a5, OUT_STRIDE
	l32i	a9, a5, BIAS
	l32i	a10, a5, MULTIPLIER
	l32i	a11, a5, ADDEND
	l32i	a12, a5, RIGHT_SHIFT
	ssr	a12
	addi	a2, a2, -4
	addi	a3, a3, -4
	mov.n	a12, a3
	ldinc	m0, a2
	ldinc	m2, a12
	ldinc	m1, a2
1:	wsr	a9, acclo
	loopnez	a6, 2f
	mula.dd.ll.ldinc m3, a12, m0, m2
	mula.dd.hh.ldinc m0, a2, m0, m2
	mula.dd.ll.ldinc m2, a12, m1, m3
	mula.dd.hh.ldinc m1, a2, m1, m3
2:	mula.dd.ll.ldinc m3, a12, m0, m2
	mov.n	a12, a3
	mula.dd.hh.ldinc m0, a2, m0, m2
	mula.dd.ll.ldinc m2, a12, m1, m3
	mula.dd.hh.ldinc m1, a2, m1, m3
	addi.n	a7, a7, -1
	rsr	a13, acclo
	requantize a13, a10, a11, a14, \relu
	s8i	a13, a4, 0
	add.n	a4, a4, a8
	bnez	a7, 1b
	retw.n
	.endm

	dot	em_mac16_dot, 0
	dot	em_mac16_dot_relu, 1

/* Up to 64 taps fit into a zero-overhead loop over the pixels, which saves three instructions per
 * output. Fused ReLU only: other layers with few taps are rare. */
	.macro	dot_unrolled name, groups
	.section .text.\name, "ax", @progbits
	.p2align 2
	.global	\name
	.type	\name, @function
\name:
	entry	a1, 32
	l32i	a7, a5, N
	l32i	a8, a5, OUT_STRIDE
	l32i	a9, a5, BIAS
	l32i	a10, a5, MULTIPLIER
	l32i	a11, a5, ADDEND
	l32i	a12, a5, RIGHT_SHIFT
	ssr	a12
	addi	a2, a2, -4
	addi	a3, a3, -4
	mov.n	a12, a3
	ldinc	m0, a2
	ldinc	m2, a12
	ldinc	m1, a2
	loopnez	a7, 1f
	wsr	a9, acclo
	.rept	\groups - 1
	mula.dd.ll.ldinc m3, a12, m0, m2
	mula.dd.hh.ldinc m0, a2, m0, m2
	mula.dd.ll.ldinc m2, a12, m1, m3
	mula.dd.hh.ldinc m1, a2, m1, m3
	.endr
	mula.dd.ll.ldinc m3, a12, m0, m2
	mov.n	a12, a3
	mula.dd.hh.ldinc m0, a2, m0, m2
	mula.dd.ll.ldinc m2, a12, m1, m3
	mula.dd.hh.ldinc m1, a2, m1, m3
	rsr	a13, acclo
	requantize a13, a10, a11, a14, 1
	s8i	a13, a4, 0
	add.n	a4, a4, a8
1:
	retw.n
	.endm

	dot_unrolled em_mac16_dot16, 4
	dot_unrolled em_mac16_dot24, 6
	dot_unrolled em_mac16_dot32, 8
	dot_unrolled em_mac16_dot48, 12
	dot_unrolled em_mac16_dot64, 16

/* Nine taps, weights in a8-a12: nothing but the multiplications, the requantisation and the store. */
	.macro	dot9 name, relu
	.section .text.\name, "ax", @progbits
	.p2align 2
	.global	\name
	.type	\name, @function
\name:
	entry	a1, 32
	l32i	a8, a3, 0
	l32i	a9, a3, 4
	l32i	a10, a3, 8
	l32i	a11, a3, 12
	l32i	a12, a3, 16
	l32i	a6, a5, RIGHT_SHIFT
	ssr	a6
	l32i	a6, a5, OUT_STRIDE
	l32i	a7, a5, N
	l32i	a13, a5, BIAS
	l32i	a14, a5, MULTIPLIER
	l32i	a15, a5, ADDEND
	addi	a2, a2, -4
	ldinc	m0, a2
	loopnez	a7, 1f
	wsr	a13, acclo
	mula.da.ll.ldinc m1, a2, m0, a8
	mula.da.hh	m0, a8
	mula.da.ll.ldinc m0, a2, m1, a9
	mula.da.hh	m1, a9
	mula.da.ll.ldinc m1, a2, m0, a10
	mula.da.hh	m0, a10
	mula.da.ll.ldinc m0, a2, m1, a11
	mula.da.hh	m1, a11
	mula.da.ll.ldinc m0, a2, m0, a12
	rsr	a5, acclo
	requantize a5, a14, a15, a3, \relu
	s8i	a5, a4, 0
	add.n	a4, a4, a6
1:
	retw.n
	.endm

	dot9	em_mac16_dot9, 0
	dot9	em_mac16_dot9_relu, 1
