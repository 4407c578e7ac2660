/* int8 to int16 with a factor of two: see mac16.h. */

	.macro	widen_byte word, position, addend, temporary
	extui	\temporary, \word, \position, 8
	addx2	\temporary, \temporary, \addend
	.endm

/* void em_mac16_widen(const int8_t *src, int16_t *dst, uint32_t n, int32_t addend)
 * Bytes are flipped to unsigned first (x + 128): EXTUI then needs no sign extension. */
	.section .text.em_mac16_widen, "ax", @progbits
	.p2align 2
.Lflip_widen:
	.long	0x80808080
	.global	em_mac16_widen
	.type	em_mac16_widen, @function
em_mac16_widen:
	entry	a1, 32
	l32r	a6, .Lflip_widen
	addi	a5, a5, -128
	addi	a5, a5, -128
	loopnez	a4, 1f
	l32i.n	a7, a2, 0
	addi.n	a2, a2, 4
	xor	a7, a7, a6
	widen_byte a7, 0, a5, a8
	widen_byte a7, 8, a5, a9
	widen_byte a7, 16, a5, a10
	widen_byte a7, 24, a5, a11
	s16i	a8, a3, 0
	s16i	a9, a3, 2
	s16i	a10, a3, 4
	s16i	a11, a3, 6
	addi.n	a3, a3, 8
1:
	retw.n

/* void em_mac16_planes(const int8_t *src, int16_t *dst, uint32_t n, uint32_t channels, int32_t addend) */
	.section .text.em_mac16_planes, "ax", @progbits
	.p2align 2
.Lflip_planes:
	.long	0x80808080
	.global	em_mac16_planes
	.type	em_mac16_planes, @function
em_mac16_planes:
	entry	a1, 32
	l32r	a7, .Lflip_planes
	addi	a6, a6, -128
	addi	a6, a6, -128
	loopnez	a4, 1f
	l32i.n	a8, a2, 0
	add.n	a2, a2, a5
	xor	a8, a8, a7
	widen_byte a8, 0, a6, a9
	widen_byte a8, 8, a6, a10
	widen_byte a8, 16, a6, a11
	widen_byte a8, 24, a6, a12
	s16i	a9, a3, 0
	s16i	a10, a3, 128
	s16i	a11, a3, 256
	s16i	a12, a3, 384
	addi.n	a3, a3, 2
1:
	retw.n
