/* preload.c - bough-run.so: what `bough run` loads into a program with LD_PRELOAD, so that the program finds a branch
 * in the place of a file.
 *
 * Three functions of SQLite, those that open a database, are found here first. The first call of any of them loads
 * bough.so into the copy of SQLite that the program uses, makes the VFS bough the default one there, and puts itself
 * before its xFullPathname. SQLite asks that about every name before anything is opened, whether it comes from
 * sqlite3_open, from a URI or from ATTACH; relative names and symlinks are resolved by then. The file's name is
 * answered with the branch's, every other one as before.
 *
 * Programs and their children carry this library whether they use SQLite or not, so it links nothing but libc, does
 * nothing until a database is opened, and reads the environment then:
 *   BOUGH_RUN_FILE  the absolute path of the file, symlinks resolved
 *   BOUGH_RUN_PATH  the plain path of the branch
 *
 * Where a branch cannot be given, nothing can be opened at all: a program must not write to the file by mistake. */
#include <sqlite3.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHOWN __attribute__((visibility("default")))

typedef int open_function(const char *, sqlite3 **);
typedef int open_v2_function(const char *, sqlite3 **, int, const char *);
typedef int open16_function(const void *, sqlite3 **);

/* What is called of a copy of SQLite besides the function that the program called. */
struct sqlite {
    open_v2_function *open_v2;
    int (*close)(sqlite3 *);
    int (*enable_load_extension)(sqlite3 *, int);
    int (*load_extension)(sqlite3 *, const char *, const char *, char **);
    void (*free)(void *);
    sqlite3_vfs *(*vfs_find)(const char *);
    int (*vfs_register)(sqlite3_vfs *, int);
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const void *adopted_address; /* in the copy of SQLite that has the VFS; written once, under the mutex */
static int adopted_code;            /* what came of it; under the mutex */
static __thread int adopting;       /* SQLite opens databases of its own accord meanwhile */
static const char *file, *branch;   /* set before the VFS is changed, and never again */
static int (*bough_full_pathname)(sqlite3_vfs *, const char *, int, char *);

static int complain(const char *what, const char *detail)
{
    fprintf(stderr, "bough run: %s%s%s\n", what, detail[0] ? ": " : "", detail);
    return SQLITE_CANTOPEN;
}

/* ---- finding SQLite ---- */

/* dlsym() as the object that holds this address would resolve the name; NULL where that is the program itself. */
static void *symbol_for(const void *address, const char *name)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (!dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_name[0])
        return NULL;
    void *object = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    void *found = object ? dlsym(object, name) : NULL;
    if (object)
        dlclose(object);
    return found;
}

/* The function that the caller would have got. A library that was loaded RTLD_LOCAL, as Python loads its modules, sees
 * an SQLite that the rest of the program does not, so the caller is asked first. Extensions, bough.so too, call through
 * SQLite's table and see none: theirs is the copy that has the VFS. */
static void *next_for(const void *caller, const char *name, const void *ours)
{
    const void *known = __atomic_load_n(&adopted_address, __ATOMIC_ACQUIRE);
    void *found = symbol_for(caller, name);
    if (!found || found == ours)
        found = known ? symbol_for(known, name) : NULL;
    if (!found || found == ours)
        found = dlsym(RTLD_NEXT, name);
    return found;
}

static struct link_map *object_of(const void *address)
{
    Dl_info info;
    struct link_map *map = NULL;
    return dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) ? map : NULL;
}

static int find_functions(struct sqlite *out, const void *address)
{
    struct {
        void *to;
        const char *name;
    } wanted[] = {
        {&out->open_v2, "sqlite3_open_v2"},
        {&out->close, "sqlite3_close"},
        {&out->enable_load_extension, "sqlite3_enable_load_extension"},
        {&out->load_extension, "sqlite3_load_extension"},
        {&out->free, "sqlite3_free"},
        {&out->vfs_find, "sqlite3_vfs_find"},
        {&out->vfs_register, "sqlite3_vfs_register"},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        void *found = symbol_for(address, wanted[i].name);
        if (!found)
            return complain("this SQLite cannot load extensions; it has no function", wanted[i].name);
        memcpy(wanted[i].to, &found, sizeof(found));
    }
    return SQLITE_OK;
}

/* ---- the VFS ---- */

/* A hard link to the file is the file as well. */
static int is_file(const char *path)
{
    struct stat asked, known;
    if (strcmp(path, file) == 0)
        return 1;
    return stat(path, &asked) == 0 && stat(file, &known) == 0 && asked.st_dev == known.st_dev &&
           asked.st_ino == known.st_ino;
}

static int full_pathname(sqlite3_vfs *vfs, const char *path, int room, char *out)
{
    int rc = bough_full_pathname(vfs, path, room, out);
    if ((rc & 0xFF) == SQLITE_OK && is_file(out))
        rc = bough_full_pathname(vfs, branch, room, out);
    return rc;
}

/* A VFS of our own in front of bough's would give way if the program made bough's the default one by itself. */
static int change_vfs(const struct sqlite *sqlite)
{
    sqlite3_vfs *vfs = sqlite->vfs_find("bough");
    if (!vfs)
        return complain("bough.so has registered no VFS", "");
    bough_full_pathname = vfs->xFullPathname;
    vfs->xFullPathname = full_pathname;
    return sqlite->vfs_register(vfs, 1);
}

/* bough.so stands beside this library. It takes SQLite's table of functions from a connection, which may be any. */
static int load_bough(const struct sqlite *sqlite)
{
    struct link_map *self = object_of((const void *)&mutex);
    const char *slash = self ? strrchr(self->l_name, '/') : NULL;
    char *path = NULL, *error = NULL;
    sqlite3 *db = NULL;
    if (!slash || asprintf(&path, "%.*s/bough.so", (int)(slash - self->l_name), self->l_name) < 0)
        return complain("the folder of bough-run.so is not known", "");
    int rc = sqlite->open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite->enable_load_extension(db, 1);
    if (rc == SQLITE_OK)
        rc = sqlite->load_extension(db, path, "sqlite3_bough_init", &error);
    if (rc != SQLITE_OK)
        rc = complain(path, error ? error : "cannot be loaded");
    sqlite->free(error);
    sqlite->close(db);
    free(path);
    return rc;
}

static int adopt(const void *address)
{
    struct sqlite sqlite;
    file = getenv("BOUGH_RUN_FILE");
    branch = getenv("BOUGH_RUN_PATH");
    /* Copies: a program may change its environment. */
    file = file ? strdup(file) : NULL;
    branch = branch ? strdup(branch) : NULL;
    if (!file || !branch)
        return complain("BOUGH_RUN_FILE and BOUGH_RUN_PATH are not set", "");
    int rc = find_functions(&sqlite, address);
    if (rc == SQLITE_OK)
        rc = load_bough(&sqlite);
    return rc == SQLITE_OK ? change_vfs(&sqlite) : rc;
}

/* SQLITE_OK when the copy of SQLite at this address may open databases. */
static int enter(const void *address)
{
    int rc = SQLITE_OK;
    if (adopting)
        return SQLITE_OK;
    pthread_mutex_lock(&mutex);
    adopting = 1;
    if (!adopted_address) {
        __atomic_store_n(&adopted_address, address, __ATOMIC_RELEASE);
        adopted_code = adopt(address);
        rc = adopted_code;
    } else if (object_of(adopted_address) == object_of(address)) {
        rc = adopted_code;
    } else {
        rc = complain("the program has a second copy of SQLite, which cannot be given the branch", "");
    }
    adopting = 0;
    pthread_mutex_unlock(&mutex);
    return rc;
}

/* ---- what programs call ---- */

static int refuse(sqlite3 **out)
{
    *out = NULL;
    return SQLITE_CANTOPEN;
}

SHOWN int sqlite3_open(const char *name, sqlite3 **out)
{
    void *found = next_for(__builtin_return_address(0), "sqlite3_open", (const void *)sqlite3_open);
    open_function *next = NULL;
    memcpy(&next, &found, sizeof(next));
    return next && enter(found) == SQLITE_OK ? next(name, out) : refuse(out);
}

SHOWN int sqlite3_open16(const void *name, sqlite3 **out)
{
    void *found = next_for(__builtin_return_address(0), "sqlite3_open16", (const void *)sqlite3_open16);
    open16_function *next = NULL;
    memcpy(&next, &found, sizeof(next));
    return next && enter(found) == SQLITE_OK ? next(name, out) : refuse(out);
}

/* Who names a VFS has chosen; the default one is not asked. */
SHOWN int sqlite3_open_v2(const char *name, sqlite3 **out, int flags, const char *vfs)
{
    void *found = next_for(__builtin_return_address(0), "sqlite3_open_v2", (const void *)sqlite3_open_v2);
    open_v2_function *next = NULL;
    memcpy(&next, &found, sizeof(next));
    return next && (vfs || enter(found) == SQLITE_OK) ? next(name, out, flags, vfs) : refuse(out);
}
