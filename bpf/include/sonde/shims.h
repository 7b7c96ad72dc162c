/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What differs between kernels and machines, each with its reason. Features are asked for, never versions. */
#ifndef SONDE_SHIMS_H
#define SONDE_SHIMS_H

#include <sonde/bpf.h>

/* Registers of a system call. Which type vmlinux.h gives pt_regs depends on the machine the object is for. */
#if defined(__TARGET_ARCH_x86)
#define sonde_syscall_nr(regs) ((regs)->orig_ax)
#define sonde_syscall_arg1(regs) ((regs)->di)
#define sonde_syscall_arg2(regs) ((regs)->si)
#define sonde_syscall_arg3(regs) ((regs)->dx)
/* A 32-bit caller has its own table of call numbers; its code segment tells (__USER32_CS,
 * arch/x86/include/asm/segment.h). int 0x80 from 64-bit code is not told apart. */
#define sonde_syscall_is_compat(regs) ((regs)->cs == 0x23)
#define sonde_compat_arg1(regs) ((regs)->bx)
#define sonde_compat_arg2(regs) ((regs)->cx)
#define sonde_compat_arg3(regs) ((regs)->dx)
#elif defined(__TARGET_ARCH_arm64)
#define sonde_syscall_nr(regs) ((regs)->syscallno)
#define sonde_syscall_arg1(regs) ((regs)->orig_x0)
#define sonde_syscall_arg2(regs) ((regs)->regs[1])
#define sonde_syscall_arg3(regs) ((regs)->regs[2])
/* PSR_MODE32_BIT, arch/arm64/include/uapi/asm/ptrace.h */
#define sonde_syscall_is_compat(regs) ((regs)->pstate & 0x10)
#define sonde_compat_arg1(regs) ((regs)->orig_x0)
#define sonde_compat_arg2(regs) ((regs)->regs[1])
#define sonde_compat_arg3(regs) ((regs)->regs[2])
#else
#error "sonde: unknown target architecture"
#endif

/* 2f064a59a11f ("sched: Change task_struct::state", 5.14) renamed state to __state. */
struct task_struct___before_5_14 {
	long state;
} __attribute__((preserve_access_index));

sonde_inline unsigned int sonde_task_state(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return task->__state;
	return ((struct task_struct___before_5_14 *)task)->state;
}

/* A pointer read from memory as a number becomes a typed one whose fields are plain loads: no helper call.
 * Since 6.2 (a35b9af4ec2c); where it is missing, sonde_have_cast is false and the branch is removed at load. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;
extern const volatile bool sonde_have_cast;

#define sonde_cast(pointer, type) ((type *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(type)))

#endif
