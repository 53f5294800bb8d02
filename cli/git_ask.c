/* git_ask.c - runs git, and bough itself, as programs of their own: never through a shell, with nothing on standard
 * input, what they write kept, and for a bounded time. */
#include "git.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX      (1 << 20) /* of each stream; more is read and dropped */
#define KILL_TIMEOUT_MS 2000      /* between asking to end and ending */

extern char **environ;

struct stream {
    int fd;
    char *text;
    size_t length;
};

static int64_t now_ms(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- output ---- */

/* Takes what is there; closes at the end. */
static void take_output(struct stream *stream)
{
    char buffer[4096];
    ssize_t n = read(stream->fd, buffer, sizeof buffer);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        close(stream->fd);
        stream->fd = -1;
        return;
    }
    if (stream->length + (size_t)n > OUTPUT_MAX)
        return;
    stream->text = out_grow(stream->text, stream->length + (size_t)n + 1);
    memcpy(stream->text + stream->length, buffer, (size_t)n);
    stream->length += (size_t)n;
}

static char *finish_output(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    if (!stream->text)
        return out_copy("");
    while (stream->length && stream->text[stream->length - 1] == '\n')
        stream->length--;
    stream->text[stream->length] = 0;
    return stream->text;
}

/* ---- the program ---- */

/* Reads until both streams end, or the time is over: false. A grandchild may hold a stream open, so the end of the
 * program itself counts too. */
static bool collect(struct stream streams[2], pid_t pid, int64_t until_ms, int *status)
{
    bool ended = false;

    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        struct pollfd polls[2] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}};
        int64_t left = until_ms - now_ms();
        int ready = 0;

        if (left <= 0)
            return false;
        ready = poll(polls, 2, ended ? 0 : left < 50 ? (int)left : 50);
        for (int i = 0; i < 2; i++) {
            if (ready > 0 && polls[i].revents)
                take_output(&streams[i]);
        }
        if (ready == 0 && ended)
            return true;
        if (!ended && ready <= 0)
            ended = waitpid(pid, status, WNOHANG) == pid;
    }
    while (!ended) {
        if (now_ms() >= until_ms)
            return false;
        ended = waitpid(pid, status, WNOHANG) == pid;
        if (!ended)
            poll(NULL, 0, 1);
    }
    return true;
}

/* Asks it to end, then makes it. A bough that is killed harms nobody. */
static void end_program(pid_t pid)
{
    int64_t until_ms = now_ms() + KILL_TIMEOUT_MS;
    int status = 0;

    kill(pid, SIGTERM);
    while (now_ms() < until_ms) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return;
        poll(NULL, 0, 10);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static int start(pid_t *out, const char *directory, char *const argv[], const int outs[2], const int errs[2])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    int error = 0;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGXFSZ);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, outs[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errs[1], STDERR_FILENO);
    error = posix_spawn_file_actions_addchdir_np(&actions, directory);
    if (!error)
        error = posix_spawnp(out, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static int open_pipes(int outs[2], int errs[2])
{
    if (pipe2(outs, O_CLOEXEC) != 0)
        return errno;
    if (pipe2(errs, O_CLOEXEC) != 0) {
        int error = errno;

        close(outs[0]);
        close(outs[1]);
        return error;
    }
    return 0;
}

void git_run_program(struct git_answer *out, const char *directory, const char *const argv[], uint32_t timeout_ms)
{
    struct stream streams[2] = {{-1, NULL, 0}, {-1, NULL, 0}};
    int outs[2], errs[2];
    int status = 0;
    pid_t pid = 0;

    *out = (struct git_answer){-1, 0, NULL, NULL};
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take the status with it */
    out->error = open_pipes(outs, errs);
    if (!out->error) {
        out->error = start(&pid, directory, (char *const *)argv, outs, errs);
        close(outs[1]);
        close(errs[1]);
        streams[0].fd = outs[0];
        streams[1].fd = errs[0];
    }
    if (!out->error && collect(streams, pid, now_ms() + timeout_ms, &status)) {
        out->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    } else if (!out->error) {
        end_program(pid);
        out->error = ETIMEDOUT;
    }
    out->out = finish_output(&streams[0]);
    out->err = finish_output(&streams[1]);
}

void git_answer_release(struct git_answer *answer)
{
    free(answer->out);
    free(answer->err);
    answer->out = answer->err = NULL;
}

char *git_ask(const struct worktree *worktree, const char *const words[])
{
    struct git_answer answer = {0};
    const char **argv = NULL;
    char *text = NULL;
    size_t count = 0;

    while (words[count])
        count++;
    argv = out_alloc((count + 2) * sizeof argv[0]);
    argv[0] = "git";
    memcpy(argv + 1, words, count * sizeof argv[0]);
    git_run_program(&answer, worktree->root, argv, GIT_TIMEOUT_MS);
    if (answer.status == 0) {
        text = answer.out;
        answer.out = NULL;
    }
    git_answer_release(&answer);
    free(argv);
    return text;
}

char *git_reflog(const struct worktree *worktree, const char *ref)
{
    return GIT_ASK(worktree, "log", "-g", "--no-show-signature", "--format=%gs", ref, "--");
}

char *git_next_line(char **rest)
{
    char *line = *rest;

    if (!line || !*line)
        return NULL;
    *rest = line + strcspn(line, "\n");
    if (**rest)
        *(*rest)++ = 0;
    return line;
}

void git_forget_environment(void)
{
    static const char *const names[] = {"GIT_DIR",
                                        "GIT_WORK_TREE",
                                        "GIT_INDEX_FILE",
                                        "GIT_COMMON_DIR",
                                        "GIT_PREFIX",
                                        "GIT_OBJECT_DIRECTORY",
                                        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                                        "GIT_NAMESPACE"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}
