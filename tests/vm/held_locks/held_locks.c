// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A lock of each kind that sleeps, held for as long as a test likes. Write to /proc/sonde-held:
 *   the name of a kind    takes that lock, and gives it back when it is told to
 *   release               tells one that holds a lock
 * Read: how many hold one now. */
#include <linux/completion.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/proc_fs.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/uaccess.h>

static DEFINE_MUTEX(held_mutex);
static DECLARE_RWSEM(held_rwsem);
static DEFINE_RT_MUTEX(held_rtmutex);
static struct semaphore held_semaphore;
static struct percpu_rw_semaphore held_percpu;
static DECLARE_COMPLETION(held_release);
static atomic_t held_now = ATOMIC_INIT(0);

static void hold(void)
{
	atomic_inc(&held_now);
	wait_for_completion(&held_release);
	atomic_dec(&held_now);
}

static void hold_mutex(void)
{
	mutex_lock(&held_mutex);
	hold();
	mutex_unlock(&held_mutex);
}

static void hold_rwsem_read(void)
{
	down_read(&held_rwsem);
	hold();
	up_read(&held_rwsem);
}

static void hold_rwsem_write(void)
{
	down_write(&held_rwsem);
	hold();
	up_write(&held_rwsem);
}

static void hold_rtmutex(void)
{
	rt_mutex_lock(&held_rtmutex);
	hold();
	rt_mutex_unlock(&held_rtmutex);
}

static void hold_percpu_read(void)
{
	percpu_down_read(&held_percpu);
	hold();
	percpu_up_read(&held_percpu);
}

static void hold_percpu_write(void)
{
	percpu_down_write(&held_percpu);
	hold();
	percpu_up_write(&held_percpu);
}

static void hold_semaphore(void)
{
	down(&held_semaphore);
	hold();
	up(&held_semaphore);
}

static void release_one(void)
{
	complete(&held_release);
}

static const struct {
	const char *word;
	void (*act)(void);
} words[] = {
	{ "mutex", hold_mutex },
	{ "rwsem-read", hold_rwsem_read },
	{ "rwsem-write", hold_rwsem_write },
	{ "rtmutex", hold_rtmutex },
	{ "percpu-read", hold_percpu_read },
	{ "percpu-write", hold_percpu_write },
	{ "semaphore", hold_semaphore },
	{ "release", release_one },
};

static ssize_t held_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char word[16] = {};
	size_t i;

	if (size >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, from, size))
		return -EFAULT;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i].word))
			continue;
		words[i].act();
		return size;
	}
	return -EINVAL;
}

static ssize_t held_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	char text[16];
	int length = scnprintf(text, sizeof(text), "%d\n", atomic_read(&held_now));

	return simple_read_from_buffer(to, size, at, text, length);
}

static const struct proc_ops held_operations = {
	.proc_read = held_read,
	.proc_write = held_write,
	.proc_lseek = default_llseek,
};

static int __init held_begin(void)
{
	int error;

	sema_init(&held_semaphore, 1);
	error = percpu_init_rwsem(&held_percpu);
	if (error)
		return error;
	if (!proc_create("sonde-held", 0600, NULL, &held_operations)) {
		percpu_free_rwsem(&held_percpu);
		return -ENOMEM;
	}
	return 0;
}

static void __exit held_end(void)
{
	remove_proc_entry("sonde-held", NULL);
	percpu_free_rwsem(&held_percpu);
}

module_init(held_begin);
module_exit(held_end);
MODULE_DESCRIPTION("Locks that tests hold");
MODULE_LICENSE("Dual BSD/GPL");
