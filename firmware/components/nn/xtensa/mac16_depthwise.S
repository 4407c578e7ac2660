/* 3x3 depthwise on one plane, two outputs per step, all weights in registers:
 * a8 = w0 w1, a9 = w2 w3, a10 = w4 w5, a11 = w6 w7, a12 = w8 (low half first).
 *
 * a2, a3, a6 walk the three rows, a4 the outputs. P is the word with columns 2i, 2i+1 of a row, Q the next one. Only
 * m0 and m1 can be multiplied while loading, so the words that the second output needs again are
 * kept in m2, m3 or loaded once more on the way back; each load costs nothing.
 */
#include "mac16_requantize.inc"

/* void NAME(const int16_t *rows, const int16_t *weights, int8_t *out, const em_mac16_channel_t *channel)
 * Every row needs all registers; between rows the stack holds where we are. */
#define SAVED_A0 0
#define SAVED_CHANNEL 4
#define SAVED_ROW 8
#define SAVED_ROWS_LEFT 12
#define ROW_PITCH 512				/* EM_MAC16_ROW in bytes */

	.macro	begin name, relu
	.section .text.\name, "ax", @progbits
	.p2align 2
	.global	\name
	.type	\name, @function
\name:
	entry	a1, 48
	.if	\relu == 0
	s32i.n	a0, a1, SAVED_A0		/* the second scratch register */
	.endif
	s32i.n	a5, a1, SAVED_CHANNEL
	l32i	a8, a3, 0
	l32i	a9, a3, 4
	l32i	a10, a3, 8
	l32i	a11, a3, 12
	l32i	a12, a3, 16
	l32i	a7, a5, RIGHT_SHIFT
	ssr	a7
	l32i	a13, a5, BIAS
	l32i	a14, a5, MULTIPLIER
	l32i	a15, a5, ADDEND
	l32i	a7, a5, ROWS
	s32i.n	a7, a1, SAVED_ROWS_LEFT
	addi	a2, a2, -4
	s32i.n	a2, a1, SAVED_ROW
	l32i	a5, a5, OUT_STRIDE
2:	l32i.n	a7, a1, SAVED_CHANNEL
	addmi	a3, a2, ROW_PITCH
	addmi	a6, a3, ROW_PITCH
	l32i	a7, a7, N
	ldinc	m0, a2
	.endm

	.macro	finish relu
	rsr	a7, acclo
	requantize a7, a14, a15, a0, \relu
	s8i	a7, a4, 0
	add.n	a4, a4, a5
	.endm

	.macro	next_row relu
	l32i.n	a7, a1, SAVED_CHANNEL
	l32i.n	a2, a1, SAVED_ROW
	l32i	a3, a7, ROW_STEP
	l32i	a6, a7, OUT_ROW_STEP
	add	a2, a2, a3
	s32i.n	a2, a1, SAVED_ROW
	add	a4, a4, a6
	l32i.n	a3, a1, SAVED_ROWS_LEFT
	addi	a3, a3, -1
	s32i.n	a3, a1, SAVED_ROWS_LEFT
	bnez	a3, 2b
	.if	\relu == 0
	l32i.n	a0, a1, SAVED_A0
	.endif
	retw.n
	.endm

	.macro	depthwise_s1 name, relu
	begin	\name, \relu
	loopnez	a7, 1f
	wsr	a13, acclo
	mula.da.ll.ldinc m1, a2, m0, a8		/* row 0: P.l w0; Q0 */
	mula.da.hh.ldinc m0, a3, m0, a8		/* P.h w1; P1 */
	mula.da.ll.ldinc m2, a3, m1, a9		/* Q.l w2; Q1 */
	mula.da.lh.ldinc m1, a6, m0, a9		/* row 1: P.l w3; P2 */
	mula.da.hl.ldinc m3, a6, m0, a10	/* P.h w4; Q2 */
	mula.ad.hl	a10, m2			/* Q.l w5 */
	mula.da.ll.lddec m0, a3, m1, a11	/* row 2: P.l w6; P1 again */
	mula.da.hh	m1, a11			/* P.h w7 */
	mula.ad.ll	a12, m3			/* Q.l w8 */
	finish	\relu
	wsr	a13, acclo
	mula.da.hl.lddec m1, a6, m1, a11	/* row 2: P.h w6 */
	mula.ad.hl	a11, m3			/* Q.l w7 */
	mula.ad.lh	a12, m3			/* Q.h w8 */
	mula.da.hh.lddec m1, a2, m0, a9		/* row 1: P.h w3; P0 again */
	mula.ad.ll	a10, m2			/* Q.l w4 */
	mula.ad.hh	a10, m2			/* Q.h w5 */
	mula.da.hl.ldinc m0, a2, m1, a8		/* row 0: P.h w0; Q0, the next P0 */
	mula.da.lh	m0, a8			/* Q.l w1 */
	mula.da.hl	m0, a9			/* Q.h w2 */
	finish	\relu
1:
	next_row \relu
	.endm

/* Stride 2: the second output needs Q and the word behind it, R: it loads R, then Q on the way back. */
	.macro	depthwise_s2 name, relu
	begin	\name, \relu
	loopnez	a7, 1f
	wsr	a13, acclo
	mula.da.ll.ldinc m1, a2, m0, a8		/* row 0: P.l w0; Q0 */
	mula.da.hh	m0, a8			/* P.h w1 */
	mula.da.ll.ldinc m0, a3, m1, a9		/* Q.l w2; P1 */
	mula.da.lh.ldinc m1, a3, m0, a9		/* row 1: P.l w3; Q1 */
	mula.da.hl	m0, a10			/* P.h w4 */
	mula.da.lh.ldinc m0, a6, m1, a10	/* Q.l w5; P2 */
	mula.da.ll.ldinc m1, a6, m0, a11	/* row 2: P.l w6; Q2 */
	mula.da.hh	m0, a11			/* P.h w7 */
	mula.da.ll.ldinc m0, a2, m1, a12	/* Q.l w8; R0 */
	finish	\relu
	wsr	a13, acclo
	mula.da.ll.lddec m1, a2, m0, a9		/* row 0: R.l w2; Q0 */
	mula.da.ll.ldinc m0, a3, m1, a8		/* Q.l w0; R1 */
	mula.da.hh	m1, a8			/* Q.h w1 */
	mula.da.lh.lddec m1, a3, m0, a10	/* row 1: R.l w5; Q1 */
	mula.da.lh.ldinc m0, a6, m1, a9		/* Q.l w3; R2 */
	mula.da.hl	m1, a10			/* Q.h w4 */
	mula.da.ll.lddec m1, a6, m0, a12	/* row 2: R.l w8; Q2 */
	mula.da.ll.ldinc m0, a2, m1, a11	/* Q.l w6; R0, the next P0 */
	mula.da.hh	m1, a11			/* Q.h w7 */
	finish	\relu
1:
	next_row \relu
	.endm

	depthwise_s1 em_mac16_depthwise_s1, 0
	depthwise_s1 em_mac16_depthwise_s1_relu, 1
	depthwise_s2 em_mac16_depthwise_s2, 0
	depthwise_s2 em_mac16_depthwise_s2_relu, 1
