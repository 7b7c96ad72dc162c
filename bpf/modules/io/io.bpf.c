// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The io probe: what processes ask of files, and wait for on streams. README.md says which hooks, and why. */
#include "fentry.bpf.h"
#include "io_uring.bpf.h"
#include "open_files.bpf.h"
#include "tracepoints.bpf.h"

SONDE_LICENSE;

const volatile bool sonde_have_cast = false;
