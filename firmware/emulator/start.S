/* Start-up code for Xtensa LX6 programs (windowed ABI) on QEMU's `sim` machine.
 *
 * Vectors: window overflow and underflow, and one handler for every exception. QEMU's de233_fpu core
 * lacks MULUH and MULSH, which the LX6 has: the handler computes them and counts how often. It takes
 * the same number of instructions each time, so that counter.c can leave them out.
 */

/* llvm-mc does not know SIMCALL: number in a2, arguments in a3-a5, result in a2. */
	.macro	semihosting_call
	.byte	0x00, 0x51, 0x00
	.endm

#define SYS_EXIT 1
#define EXIT_STATUS_EXCEPTION 100	/* + EXCCAUSE */

/* em_emulator_saved: register save area, then the number of emulated multiplications. */
#define SAVED_COUNT 64

	.section .reset, "ax", @progbits	/* QEMU starts at the reset vector of the core */
	.p2align 2
	.global	em_reset
em_reset:
	j	1f
	.p2align 2
.Lstart_address:
	.long	em_start
1:	l32r	a0, .Lstart_address
	jx	a0

	.section .vectors, "ax", @progbits
	.p2align 10
	.global	em_vectors
em_vectors:
/* Overflow n: spill a0-a3 below the callee's stack pointer, the rest into the caller's frame. */
	s32e	a0, a5, -16
	s32e	a1, a5, -12
	s32e	a2, a5, -8
	s32e	a3, a5, -4
	rfwo
	.org	0x40
	l32e	a0, a5, -16
	l32e	a1, a5, -12
	l32e	a2, a5, -8
	l32e	a3, a5, -4
	rfwu

	.org	0x80
	s32e	a0, a9, -16
	l32e	a0, a1, -12
	s32e	a1, a9, -12
	s32e	a2, a9, -8
	s32e	a3, a9, -4
	s32e	a4, a0, -32
	s32e	a5, a0, -28
	s32e	a6, a0, -24
	s32e	a7, a0, -20
	rfwo
	.org	0xc0
	l32e	a0, a9, -16
	l32e	a1, a9, -12
	l32e	a2, a9, -8
	l32e	a7, a1, -12
	l32e	a3, a9, -4
	l32e	a4, a7, -32
	l32e	a5, a7, -28
	l32e	a6, a7, -24
	l32e	a7, a7, -20
	rfwu
	.org	0x100
	s32e	a0, a13, -16
	l32e	a0, a1, -12
	s32e	a1, a13, -12
	s32e	a2, a13, -8
	s32e	a3, a13, -4
	s32e	a4, a0, -48
	s32e	a5, a0, -44
	s32e	a6, a0, -40
	s32e	a7, a0, -36
	s32e	a8, a0, -32
	s32e	a9, a0, -28
	s32e	a10, a0, -24
	s32e	a11, a0, -20
	rfwo
	.org	0x140
	l32e	a0, a13, -16
	l32e	a1, a13, -12
	l32e	a2, a13, -8
	l32e	a11, a1, -12
	l32e	a3, a13, -4
	l32e	a4, a11, -48
	l32e	a5, a11, -44
	l32e	a6, a11, -40
	l32e	a7, a11, -36
	l32e	a8, a11, -32
	l32e	a9, a11, -28
	l32e	a10, a11, -24
	l32e	a11, a11, -20
	rfwu

/* The other vectors lie at offsets that differ from core to core: fill the space with jumps. */
	.org	0x180
	.rept	48
	j	em_exception
	.p2align 4
	.endr

	.p2align 2
.Lsaved:
	.long	em_emulator_saved
em_exception:
	wsr	a0, excsave1
	l32r	a0, .Lsaved
	s32i	a1, a0, 4
	s32i	a2, a0, 8
	s32i	a3, a0, 12
	s32i	a4, a0, 16
	s32i	a5, a0, 20
	s32i	a6, a0, 24
	s32i	a7, a0, 28
	s32i	a8, a0, 32
	s32i	a9, a0, 36
	s32i	a10, a0, 40
	s32i	a11, a0, 44
	s32i	a12, a0, 48
	s32i	a13, a0, 52
	s32i	a14, a0, 56
	s32i	a15, a0, 60
	rsr	a2, excsave1
	s32i	a2, a0, 0
	rsr	a2, exccause
	bnez	a2, em_fatal			/* 0: illegal instruction */

/* RRR format, little-endian: byte 0 = t:op0, byte 1 = r:s, byte 2 = op2:op1.
 * MULUH: op2 = 10, MULSH: op2 = 11; both op1 = 2, op0 = 0. */
	rsr	a3, epc1
	l8ui	a4, a3, 0
	l8ui	a5, a3, 1
	l8ui	a6, a3, 2
	addi	a3, a3, 3
	wsr	a3, epc1
	extui	a7, a6, 5, 3
	bnei	a7, 5, em_fatal
	extui	a7, a6, 0, 4
	bnei	a7, 2, em_fatal
	extui	a14, a5, 4, 4			/* r */
	extui	a5, a5, 0, 4			/* s */
	extui	a4, a4, 4, 4			/* t */
	addx4	a5, a5, a0
	l32i	a5, a5, 0
	addx4	a4, a4, a0
	l32i	a4, a4, 0

/* High word of the unsigned product from four 16-bit products. */
	extui	a7, a5, 0, 16
	extui	a8, a5, 16, 16
	extui	a9, a4, 0, 16
	extui	a10, a4, 16, 16
	mull	a11, a7, a9			/* low * low */
	mull	a12, a8, a9			/* high * low */
	mull	a13, a7, a10			/* low * high */
	mull	a8, a8, a10			/* high * high */
	extui	a11, a11, 16, 16
	add	a11, a11, a12
	movi	a9, 0
	bgeu	a11, a12, 2f			/* both branch ways take as long: see nop */
	movi	a9, 1
	j	3f
2:	nop
	nop
3:	add	a12, a11, a13
	bgeu	a12, a13, 4f
	addi	a9, a9, 1
	j	5f
4:	nop
	nop
5:	extui	a12, a12, 16, 16
	slli	a9, a9, 16
	add	a8, a8, a9
	add	a8, a8, a12

/* Signed: subtract each operand where the other is negative. */
	extui	a6, a6, 4, 1
	neg	a6, a6				/* all ones for MULSH */
	srai	a7, a5, 31
	and	a7, a7, a4
	and	a7, a7, a6
	sub	a8, a8, a7
	srai	a7, a4, 31
	and	a7, a7, a5
	and	a7, a7, a6
	sub	a8, a8, a7
	addx4	a14, a14, a0
	s32i	a8, a14, 0

	l32i	a2, a0, SAVED_COUNT
	addi	a2, a2, 1
	s32i	a2, a0, SAVED_COUNT
	l32i	a1, a0, 4
	l32i	a2, a0, 8
	l32i	a3, a0, 12
	l32i	a4, a0, 16
	l32i	a5, a0, 20
	l32i	a6, a0, 24
	l32i	a7, a0, 28
	l32i	a8, a0, 32
	l32i	a9, a0, 36
	l32i	a10, a0, 40
	l32i	a11, a0, 44
	l32i	a12, a0, 48
	l32i	a13, a0, 52
	l32i	a14, a0, 56
	l32i	a15, a0, 60
	l32i	a0, a0, 0
	rfe

em_fatal:
	rsr	a3, exccause
	addi	a3, a3, EXIT_STATUS_EXCEPTION
	movi	a2, SYS_EXIT
	semihosting_call
	j	em_fatal

	.section .text.em_start, "ax", @progbits
	.p2align 2
.Lps:
	.long	0x00040000			/* PS.WOE: window exceptions on; user mode off */
.Lstack:
	.long	em_stack_top
.Lvectors:
	.long	em_vectors
.Lbss_begin:
	.long	em_bss_begin
.Lbss_end:
	.long	em_bss_end
.Lrun:
	.long	em_emulator_run
	.global	em_start
em_start:
	movi	a0, 0
	wsr	a0, intenable
	wsr	a0, lcount
	wsr	a0, windowbase
	rsync
	movi	a0, 1
	wsr	a0, windowstart
	rsync
	l32r	a0, .Lvectors
	wsr	a0, vecbase
	movi	a0, 255
	wsr	a0, cpenable			/* floating point */
	l32r	a0, .Lps
	wsr	a0, ps
	rsync
	movi	a0, 0
	l32r	a1, .Lstack
	l32r	a2, .Lbss_begin
	l32r	a3, .Lbss_end
	j	7f
6:	s32i	a0, a2, 0
	addi	a2, a2, 4
7:	bltu	a2, a3, 6b
	l32r	a4, .Lrun
	callx8	a4				/* does not return */

/* int em_semihosting(int number, int a, int b, int c) */
	.section .text.em_semihosting, "ax", @progbits
	.p2align 2
	.global	em_semihosting
	.type	em_semihosting, @function
em_semihosting:
	entry	a1, 32
	semihosting_call
	retw

	.section .bss.em_emulator_saved, "aw", @nobits
	.p2align 2
	.global	em_emulator_saved
em_emulator_saved:
	.space	68
