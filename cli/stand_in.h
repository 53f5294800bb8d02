/* stand_in.h - `bough run --copy`: a private copy of a branch that stands in for a file. */
#ifndef BOUGH_CLI_STAND_IN_H
#define BOUGH_CLI_STAND_IN_H

#include "cli.h"

struct stand_in {
    const char *file;         /* what it stands in for: absolute, without symlinks */
    char *directory, *path;   /* of the copy; NULL: not made */
    char *link;               /* a symlink to it */
    char base[BOUGH_ID_SIZE]; /* the commit that was copied */
    unsigned uid, gid;
};

/* Commits what the branch holds and copies it. */
int stand_in_make(struct cli *cli, struct stand_in *out, const char *branch, const char *file);
/* For program_run(): a process of its own sees the copy in the file's place. Returns an errno. */
int stand_in_mount(const void *stand_in);
/* The copy's bytes become the branch's next commit; refused when the branch has moved. */
int stand_in_import(struct cli *cli, const struct stand_in *stand_in, const char *branch, const char *message);
void stand_in_remove(struct stand_in *stand_in);
void stand_in_release(struct stand_in *stand_in);

#endif
