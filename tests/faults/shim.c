/* Faults of a disk and of a clock, for one process and all that it starts: loaded by LD_PRELOAD (see shim.py).
 *
 * A shared control file, mapped by every process, names the calls that count, the paths they count for, and what happens
 * at the Nth of them: an errno, or a kill. It also holds seconds that are added to the time of day.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As in shim.py. */
struct control {
    int64_t at;       /* The number of the first call that fails; 0: none. */
    int64_t until;    /* The number of the last one. */
    int64_t action;   /* The errno of its failure; -1: SIGKILL for the process, -2: for its process group. */
    int64_t seen;     /* Calls that counted so far, in all processes. */
    int64_t failed;   /* Those of them that failed. */
    int64_t shift;    /* Nanoseconds that are added to the time of day. */
    char calls[128];  /* Names of the calls that count, each between two commas: ",write,rename,". */
    char paths[1024]; /* Patterns of the paths that they count for, separated by bars. */
    char first[1024]; /* The first call that failed: its name, a space and its path. */
};

static struct control *control;

static void attach(void) __attribute__((constructor));
static void attach(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (mapped != MAP_FAILED) control = mapped;
}

/* Whether a path matches one of the patterns, which bars separate. */
static int matches(const char *path) {
    char patterns[sizeof control->paths], *rest = NULL;
    memcpy(patterns, control->paths, sizeof patterns);
    for (char *each = strtok_r(patterns, "|", &rest); each; each = strtok_r(NULL, "|", &rest))
        if (!fnmatch(each, path, 0)) return 1;
    return 0;
}

/* Whether this call fails; then errno is set, unless the process ends here. */
static int fails(const char *call, const char *path) {
    char name[32];
    if (!control || !control->at || !path) return 0;
    snprintf(name, sizeof name, ",%s,", call);
    if (!strstr(control->calls, name) || !matches(path)) return 0;
    int64_t number = __sync_add_and_fetch(&control->seen, 1);
    if (number < control->at || number > control->until) return 0;
    if (__sync_add_and_fetch(&control->failed, 1) == 1)
        snprintf(control->first, sizeof control->first, "%s %s", call, path);
    if (control->action < 0) {
        kill(control->action == -1 ? getpid() : 0, SIGKILL);
        for (;;) pause();
    }
    errno = control->action;
    return 1;
}

/* The absolute path of a name below an open folder. */
static const char *absolute(int folder, const char *name, char *buffer) {
    if (!name || name[0] == '/') return name;
    char link[64], base[PATH_MAX];
    ssize_t size = 0;
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) < 0) return name;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if ((size = readlink(link, base, sizeof base - 1)) < 0) return name;
        base[size] = 0;
    }
    snprintf(buffer, PATH_MAX, "%.2000s/%.2000s", base, name);
    return buffer;
}

static const char *path_of(int file, char *buffer) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, buffer, PATH_MAX - 1);
    if (size < 0) return NULL;
    buffer[size] = 0;
    return buffer;
}

/* The real function of this name, as its header declares it. */
#define NEXT(function) \
    static __typeof__(&function) next; \
    if (!next) next = (__typeof__(&function))dlsym(RTLD_NEXT, #function)

#define ON_FILE(function, call, result, arguments, passed) \
    result function arguments { \
        NEXT(function); \
        char buffer[PATH_MAX]; \
        if (control && control->at && fails(call, path_of(file, buffer))) return -1; \
        return next passed; \
    }

ON_FILE(write, "write", ssize_t, (int file, const void *data, size_t size), (file, data, size))
ON_FILE(writev, "write", ssize_t, (int file, const struct iovec *data, int count), (file, data, count))
ON_FILE(pwrite, "write", ssize_t, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
ON_FILE(pwrite64, "write", ssize_t, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
ON_FILE(ftruncate, "write", int, (int file, off_t size), (file, size))
ON_FILE(ftruncate64, "write", int, (int file, off64_t size), (file, size))
ON_FILE(fsync, "fsync", int, (int file), (file))
ON_FILE(fdatasync, "fsync", int, (int file), (file))

#define ON_PATH(function, call, result, arguments, passed, folder) \
    result function arguments { \
        NEXT(function); \
        char buffer[PATH_MAX]; \
        if (control && control->at && fails(call, absolute(folder, path, buffer))) return -1; \
        return next passed; \
    }

ON_PATH(unlink, "unlink", int, (const char *path), (path), AT_FDCWD)
ON_PATH(unlinkat, "unlink", int, (int at, const char *path, int flags), (at, path, flags), at)
ON_PATH(mkdir, "mkdir", int, (const char *path, mode_t mode), (path, mode), AT_FDCWD)
ON_PATH(mkdirat, "mkdir", int, (int at, const char *path, mode_t mode), (at, path, mode), at)
/* Of a rename the new name counts. */
ON_PATH(rename, "rename", int, (const char *old, const char *path), (old, path), AT_FDCWD)
ON_PATH(renameat, "rename", int, (int from, const char *old, int at, const char *path), (from, old, at, path), at)

#define ON_OPEN(function) \
    int function(const char *path, int flags, ...) { \
        NEXT(function); \
        char buffer[PATH_MAX]; \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (control && control->at && (flags & O_CREAT) && fails("create", absolute(AT_FDCWD, path, buffer))) return -1; \
        if (control && control->at && !(flags & O_ACCMODE) && fails("read", absolute(AT_FDCWD, path, buffer))) return -1; \
        return next(path, flags, mode); \
    }

ON_OPEN(open)
ON_OPEN(open64)

static int64_t shift(void) { return control ? control->shift : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(clock_gettime);
    int result = next(clock, now);
    if (!result && shift() && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t total = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + shift();
        now->tv_sec = total / 1000000000;
        now->tv_nsec = total % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    if (!result) *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return result;
}

time_t time(time_t *stored) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (stored) *stored = now.tv_sec;
    return now.tv_sec;
}
