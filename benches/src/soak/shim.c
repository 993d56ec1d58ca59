/* Preloaded into `weir`: its wall clock is shifted, and its calls on files of one folder fail, as a shared page says.
 *
 * SOAK_CONTROL names the page's file (the layout is `struct control`; benches/src/soak/shim.rs writes it), and SOAK_FOLDER
 * the folder; without the latter only the clock is shifted. The real calls are made as system calls, so that nothing of
 * this depends on the order in which libraries are loaded. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, CREATE = 4, RENAME = 8, READ = 16 };

struct control {
    int64_t clock_shift; /* seconds */
    int32_t error;       /* an errno; 0: nothing fails */
    uint32_t per_mille;  /* of the calls below */
    uint32_t calls;      /* which calls fail */
    uint32_t after;      /* per mille of the failures that come after the call took effect */
    uint64_t seed;
    uint64_t made;     /* calls that could have failed */
    uint64_t failed;   /* those that did */
    uint64_t loaded;   /* processes that read this page */
};

static struct control *control;
static const char *folder;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("SOAK_CONTROL");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (page == MAP_FAILED) return;
    control = page;
    folder = getenv("SOAK_FOLDER");
    __atomic_add_fetch(&control->loaded, 1, __ATOMIC_SEQ_CST);
}

static uint64_t mixed(uint64_t number) {
    number += 0x9e3779b97f4a7c15;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
    number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
    return number ^ (number >> 31);
}

/* What comes of a call on a file of the folder. */
enum fate { WORKS, FAILS, FAILS_AFTERWARDS };

static enum fate fate(uint32_t call) {
    int32_t error = control->error;
    if (!error || !(control->calls & call)) return WORKS;
    uint64_t dice = mixed(control->seed + __atomic_add_fetch(&control->made, 1, __ATOMIC_SEQ_CST));
    if (dice % 1000 >= control->per_mille) return WORKS;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    return (dice >> 32) % 1000 < control->after ? FAILS_AFTERWARDS : FAILS;
}

static int is_below(const char *path) {
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static enum fate of_path(uint32_t call, const char *path) {
    return control && folder && control->error && path && is_below(path) ? fate(call) : WORKS;
}

static enum fate of_file(uint32_t call, int file) {
    if (!control || !folder || !control->error || file <= 2) return WORKS;
    int before = errno;
    char name[32] = "/proc/self/fd/", digits[12], path[PATH_MAX];
    int at = 14, count = 0;
    for (int rest = file; rest || !count; rest /= 10) digits[count++] = '0' + rest % 10;
    while (count) name[at++] = digits[--count];
    name[at] = 0;
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return WORKS;
    path[length] = 0;
    return is_below(path) ? fate(call) : WORKS;
}

static int failed(void) {
    int32_t error = control->error; /* It may have been lifted by now. */
    errno = error ? error : EIO;
    return -1;
}

#define FAILING(found, call)                        \
    do {                                            \
        enum fate what = (found);                   \
        if (what == FAILS) return failed();         \
        long result = (call);                       \
        return what == WORKS ? result : failed();   \
    } while (0)

/* A disk without space takes what still fits. */
#define WRITING(file, count, call)                                                  \
    do {                                                                            \
        enum fate what = of_file(WRITE, file);                                      \
        if (what == WORKS) return call(count);                                      \
        if (control->error == ENOSPC && (count) > 1 && what == FAILS_AFTERWARDS)    \
            return call((count) / 2);                                               \
        if (what == FAILS_AFTERWARDS) call(count);                                  \
        return failed();                                                            \
    } while (0)

ssize_t write(int file, const void *bytes, size_t count) {
#define CALL(n) syscall(SYS_write, file, bytes, (size_t)(n))
    WRITING(file, count, CALL);
#undef CALL
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
#define CALL(n) syscall(SYS_pwrite64, file, bytes, (size_t)(n), at)
    WRITING(file, count, CALL);
#undef CALL
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) { return pwrite64(file, bytes, count, at); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    FAILING(of_file(WRITE, file), syscall(SYS_writev, file, parts, count));
}

ssize_t read(int file, void *bytes, size_t count) {
    FAILING(of_file(READ, file), syscall(SYS_read, file, bytes, count));
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t at) {
    FAILING(of_file(READ, file), syscall(SYS_pread64, file, bytes, count, at));
}

ssize_t pread(int file, void *bytes, size_t count, off_t at) { return pread64(file, bytes, count, at); }

int fsync(int file) { FAILING(of_file(SYNC, file), syscall(SYS_fsync, file)); }

int fdatasync(int file) { FAILING(of_file(SYNC, file), syscall(SYS_fdatasync, file)); }

int ftruncate64(int file, off64_t length) { FAILING(of_file(CREATE, file), syscall(SYS_ftruncate, file, length)); }

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

int mkdir(const char *path, mode_t mode) {
    FAILING(of_path(CREATE, path), syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int rename(const char *from, const char *to) {
    FAILING(of_path(RENAME, to), syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int link(const char *from, const char *to) {
    FAILING(of_path(RENAME, to), syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int unlink(const char *path) { FAILING(of_path(RENAME, path), syscall(SYS_unlinkat, AT_FDCWD, path, 0)); }

static int opened(int at, const char *path, int flags, mode_t mode) {
    enum fate what = of_path(flags & O_CREAT ? CREATE : READ, path);
    if (what == WORKS) return syscall(SYS_openat, at, path, flags, mode);
    if (what == FAILS_AFTERWARDS) {
        int file = syscall(SYS_openat, at, path, flags, mode);
        if (file >= 0) syscall(SYS_close, file);
    }
    return failed();
}

#define OPENING(at)                                              \
    mode_t mode = 0;                                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {                       \
        va_list rest;                                            \
        va_start(rest, flags);                                   \
        mode = va_arg(rest, mode_t);                             \
        va_end(rest);                                            \
    }                                                            \
    return opened(at, path, flags, mode)

int open(const char *path, int flags, ...) { OPENING(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPENING(AT_FDCWD); }
int openat(int at, const char *path, int flags, ...) { OPENING(at); }
int openat64(int at, const char *path, int flags, ...) { OPENING(at); }

static int64_t shift(void) { return control ? __atomic_load_n(&control->clock_shift, __ATOMIC_RELAXED) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, now, zone);
    if (!result) now->tv_sec += shift();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
