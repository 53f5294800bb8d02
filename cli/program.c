/* program.c - see program.h. The program is a child, in bough's own process group: what the terminal sends reaches
 * both, and bough passes on only what was sent to itself. */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- signals ---- */

static const int passed_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM};
#define PASSED_COUNT (sizeof passed_signals / sizeof passed_signals[0])

static volatile pid_t running; /* signals are blocked while it changes */

/* The kernel sends to the whole group what a terminal brings about, so the program has had it. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)context;
    if (running > 0 && info->si_code != SI_KERNEL)
        kill(running, number);
    errno = saved;
}

static void passed_set(sigset_t *out)
{
    sigemptyset(out);
    for (size_t i = 0; i < PASSED_COUNT; i++)
        sigaddset(out, passed_signals[i]);
}

/* What is ignored stays so, for the program too. What is caught goes back to its default when a program is executed. */
static void catch_passed(struct sigaction old[PASSED_COUNT])
{
    struct sigaction action = {0};

    action.sa_sigaction = pass_on;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < PASSED_COUNT; i++) {
        if (sigaction(passed_signals[i], NULL, &old[i]) == 0 && old[i].sa_handler != SIG_IGN)
            sigaction(passed_signals[i], &action, NULL);
    }
}

static void release_passed(const struct sigaction old[PASSED_COUNT])
{
    for (size_t i = 0; i < PASSED_COUNT; i++)
        sigaction(passed_signals[i], &old[i], NULL);
}

/* ---- the child ---- */

/* What kept the child from becoming the program; nothing is written when it has become it. */
struct report {
    bool prepared;
    int error;
};

static void become(int report_fd, const sigset_t *mask, char *const argv[], int (*in_child)(const void *context),
                   const void *context)
{
    struct report report = {false, in_child ? in_child(context) : 0};

    if (report.error == 0) {
        report.prepared = true;
        signal(SIGXFSZ, SIG_DFL); /* ignored by bough alone */
        sigprocmask(SIG_SETMASK, mask, NULL);
        execvp(argv[0], argv);
        report.error = errno;
    }
    if (write(report_fd, &report, sizeof report) != (ssize_t)sizeof report)
        _exit(PROGRAM_FAILED);
    _exit(0);
}

static int explain(struct cli *cli, int *out_status, const struct report *report, const char *name)
{
    bool missing = report->prepared && report->error == ENOENT;

    *out_status = !report->prepared ? PROGRAM_FAILED : missing ? PROGRAM_NOT_FOUND : PROGRAM_CANNOT;
    if (!report->prepared)
        return cli_fail(cli, BOUGH_REFUSED, "a private mount for the program is not possible here: %s",
                        strerror(report->error));
    return cli_fail(cli, missing ? BOUGH_NOT_FOUND : BOUGH_IO, "%s: %s", name, strerror(report->error));
}

static int wait_for(struct cli *cli, int *out_status, pid_t pid)
{
    int status = 0;
    pid_t ended = 0;

    do
        ended = waitpid(pid, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0)
        return cli_fail(cli, BOUGH_IO, "waiting for the program: %s", strerror(errno));
    *out_status = WIFSIGNALED(status) ? PROGRAM_BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
    return BOUGH_OK;
}

int program_run(struct cli *cli, int *out_status, char *const argv[], int (*in_child)(const void *context),
                const void *context)
{
    struct sigaction old[PASSED_COUNT];
    struct report report = {false, 0};
    sigset_t passed, mask;
    int ends[2] = {-1, -1};
    pid_t pid = 0;
    int rc = BOUGH_OK;

    *out_status = PROGRAM_FAILED;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return cli_fail(cli, BOUGH_IO, "a pipe: %s", strerror(errno));
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take the program's status with it */
    passed_set(&passed);
    sigprocmask(SIG_BLOCK, &passed, &mask);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        become(ends[1], &mask, argv, in_child, context);
    running = pid;
    catch_passed(old);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    close(ends[1]);
    if (pid < 0)
        rc = cli_fail(cli, BOUGH_IO, "a process for the program: %s", strerror(errno));
    while (pid > 0 && read(ends[0], &report, sizeof report) < 0 && errno == EINTR)
        continue;
    if (pid > 0)
        rc = wait_for(cli, out_status, pid);
    sigprocmask(SIG_BLOCK, &passed, NULL);
    running = 0;
    release_passed(old);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    close(ends[0]);
    return rc == BOUGH_OK && report.error ? explain(cli, out_status, &report, argv[0]) : rc;
}

/* ---- what LD_PRELOAD reaches ---- */

/* The file that execvp() would take; NULL when there is none. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");

    if (strchr(name, '/'))
        return out_copy(name);
    for (const char *p = path ? path : "/usr/bin:/bin"; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
        size_t length = strcspn(p, ":");
        char *candidate = out_format("%.*s/%s", length ? (int)length : 1, length ? p : ".", name);
        struct stat info = {0};

        if (stat(candidate, &info) == 0 && S_ISREG(info.st_mode) && access(candidate, X_OK) == 0)
            return candidate;
        free(candidate);
    }
    return NULL;
}

/* A dynamic program names its loader. What is no ELF file is a script, whose interpreter is not looked at. */
static const char *why_unreachable(int fd, const struct stat *info)
{
    Elf64_Ehdr header = {0};

    if ((info->st_mode & S_ISUID && info->st_uid != geteuid()) ||
        (info->st_mode & S_ISGID && info->st_gid != getegid()))
        return "runs with the rights of another user";
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return "is no 64-bit program";
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment = {0};
        off_t offset = (off_t)header.e_phoff + (off_t)i * header.e_phentsize;

        if (pread(fd, &segment, sizeof segment, offset) != (ssize_t)sizeof segment || segment.p_type == PT_INTERP)
            return NULL;
    }
    return "is statically linked";
}

int program_check_preload(struct cli *cli, const char *name)
{
    char *path = find_program(name);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat info = {0};
    const char *why = NULL;

    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        why = why_unreachable(fd, &info);
    if (fd >= 0)
        close(fd);
    free(path);
    if (!why)
        return BOUGH_OK;
    cli_hint(cli, "--copy gives it a copy of the branch and imports what it made of it");
    return cli_fail(cli, BOUGH_REFUSED, "%s %s, so it cannot be given the branch itself", name, why);
}
