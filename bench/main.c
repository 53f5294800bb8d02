/* main.c - bough_bench: runs the groups and prints medians, ratios and targets. */
#include "bench.h"
#include "shop.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *help;
    void (*run)(const struct bench *bench);
} groups[] = {
    {"floor", "overwrite + fdatasync, page copy, SHA-256, XXH3", bench_floor},
    {"calls", "system calls and syncs, by strace", bench_calls},
    {"forks", "forks in-process at three sizes", bench_forks},
    {"command", "bough branch as a command", bench_fork_command},
    {"open", "open and first query on a fresh fork", bench_open_first},
    {"branches", "forks among many branches", bench_fork_branches},
    {"depth", "forks and selects along a chain of branches", bench_depth},
    {"bytes", "bytes on disk of a fork, and of a one-row update", bench_bytes},
    {"sparse", "a sparse database of 100 GB", bench_sparse},
    {"sql", "transactions, bulk insert, selects, updates, scan", bench_sql},
    {"processes", "transactions, selects, updates with 1, 2 and 8 processes", bench_processes},
    {"beside", "point selects beside a writer", bench_beside},
    {"writers", "two writers on two branches, one on one", bench_writers},
    {"year", "many small transactions beside snapshots that are held", bench_year},
    {"workload", "many small tests of SQL", bench_workload},
    {"big", "scan and selects on the largest database", bench_big},
    {"copies", "cp, cp --reflink, VACUUM INTO, the backup API", bench_copies},
    {"bulk", "a fork right after a large transaction", bench_fork_bulk},
    {"import", "init, import, export beside cp and openssl", bench_import},
    {"diff", "bough diff beside sqldiff", bench_differences},
    {"try", "bough try with three scripts, beside three copies and the scripts", bench_tries},
    {"migrate", "status of 1,000 migrations; a rollback by overlay", bench_migrations},
};
enum { GROUP_COUNT = sizeof(groups) / sizeof(groups[0]) };

static char *directory;

static void remove_directory(void)
{
    bench_remove_tree(directory);
}

const char *bench_shop_file(const struct bench *bench, uint64_t size_bytes)
{
    static struct {
        uint64_t size_bytes;
        char *path;
    } made[8];
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        if (made[i].path != NULL && made[i].size_bytes != size_bytes)
            continue;
        if (made[i].path == NULL) {
            bench_progress("making a shop of %.4g MB", (double)size_bytes / 1e6);
            made[i].size_bytes = size_bytes;
            made[i].path = bench_path(bench, "shop%llu.db", (unsigned long long)size_bytes);
            if (shop_make(made[i].path, size_bytes) != 0)
                bench_die("no shop");
            bench_sync_file(made[i].path);
        }
        return made[i].path;
    }
    bench_die("too many sizes");
}

static void set_sizes(struct bench *bench, uint64_t largest_bytes)
{
    bench->sizes_bytes[0] = largest_bytes / 100;
    bench->sizes_bytes[1] = largest_bytes / 10;
    bench->sizes_bytes[2] = largest_bytes;
}

static void set_scale(struct bench *bench, bool quick)
{
    *bench = (struct bench){
        .quick = quick,
        .rounds = quick ? 3 : 5,
        .forks = quick ? 30 : 200,
        .transactions = quick ? 200 : 2000,
        .rows = quick ? 20000 : 500000,
        .selects = quick ? 8000 : 200000,
        .updates = quick ? 1000 : 20000,
        .year = quick ? 1000 : 50000,
        .many_branches = quick ? 1000 : 10000,
        .depth = quick ? 50 : 1000,
        .workload_scale = quick ? 2 : 50,
        .sparse_bytes = UINT64_C(100000000000),
    };
    set_sizes(bench, quick ? 20000000 : 1000000000);
}

static uint64_t parse_size(const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    static const char suffixes[] = "KMG";
    const char *suffix = *end != '\0' ? strchr(suffixes, *end & ~0x20) : NULL;
    for (const char *s = suffixes; suffix != NULL && s <= suffix; s++)
        value *= 1000;
    if ((*end != '\0' && suffix == NULL) || value < 1e5 || value > 1e13)
        bench_die("%s is no size from 100K to 10000G", text);
    return (uint64_t)value;
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: bough_bench [--quick] [--only NAME[,NAME...]] [--size BYTES] [--rounds N] [--year N] [--cpu]\n"
            "                   [--json] [--dir DIR] [--bough PROGRAM]\n"
            "  --quick    small sizes, seconds in all; ratios of such a run say little\n"
            "  --size     of the largest database (1G); the others are a tenth and a hundredth of it\n"
            "  --rounds   how often each work is repeated (5)\n"
            "  --year     transactions of the group of that name (50000; a million takes half an hour)\n"
            "  --cpu      sql, workload, big, depth and those with several processes count processor time, for a\n"
            "             machine that does other things too\n"
            "  --dir      where files are made ($TMPDIR or /tmp); it takes about five times --size\n"
            "Exits with 1 when a target does not hold, with 3 when something cannot be measured. Names:\n");
    for (size_t i = 0; i < GROUP_COUNT; i++)
        fprintf(out, "  %-9s %s\n", groups[i].name, groups[i].help);
}

static bool is_in_list(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *part = list; part != NULL && *part != '\0'; part = strchr(part, ',')) {
        part += *part == ',';
        if (strncmp(part, name, len) == 0 && (part[len] == ',' || part[len] == '\0'))
            return true;
    }
    return false;
}

static void check_list(const char *list)
{
    char *copy = bench_format("%s", list), *state = NULL;
    for (char *name = strtok_r(copy, ",", &state); name != NULL; name = strtok_r(NULL, ",", &state)) {
        bool known = false;
        for (size_t i = 0; i < GROUP_COUNT; i++)
            known = known || strcmp(groups[i].name, name) == 0;
        if (!known)
            bench_die("no group is called %s; see --help", name);
    }
    free(copy);
}

static char *self_path(void)
{
    char buffer[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", buffer, sizeof(buffer) - 1);
    if (len <= 0)
        bench_die("/proc/self/exe cannot be read");
    buffer[len] = '\0';
    return bench_format("%s", buffer);
}

struct settings {
    bool quick, as_json;
    const char *only, *parent, *bough, *size, *rounds, *year;
};

static void parse(struct settings *out, int argc, char **argv)
{
    static const struct option options[] = {
        {"quick", no_argument, NULL, 'q'},       {"json", no_argument, NULL, 'j'},
        {"only", required_argument, NULL, 'o'},  {"size", required_argument, NULL, 's'},
        {"dir", required_argument, NULL, 'd'},   {"rounds", required_argument, NULL, 'r'},
        {"bough", required_argument, NULL, 'b'}, {"help", no_argument, NULL, 'h'},
        {"cpu", no_argument, NULL, 'c'},         {"year", required_argument, NULL, 'y'},
        {NULL, 0, NULL, 0},
    };
    for (int option = 0; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'q':
            out->quick = true;
            break;
        case 'c':
            bench_clock_is_cpu = true;
            break;
        case 'j':
            out->as_json = true;
            break;
        case 'o':
            out->only = optarg;
            break;
        case 's':
            out->size = optarg;
            break;
        case 'd':
            out->parent = optarg;
            break;
        case 'r':
            out->rounds = optarg;
            break;
        case 'y':
            out->year = optarg;
            break;
        case 'b':
            out->bough = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(BENCH_WRONG_USAGE);
        }
    }
    if (optind != argc) {
        usage(stderr);
        exit(BENCH_WRONG_USAGE);
    }
    if (out->only != NULL)
        check_list(out->only);
}

static void make_directory(struct bench *bench, const char *parent)
{
    if (parent == NULL)
        parent = getenv("TMPDIR");
    char *made = bench_format("%s/bough-bench-XXXXXX", parent == NULL ? "/tmp" : parent);
    if (mkdtemp(made) == NULL)
        bench_die("%s: cannot be made", made);
    directory = realpath(made, NULL);
    free(made);
    if (directory == NULL)
        bench_die("out of memory");
    bench->directory = directory;
    atexit(remove_directory);
}

int main(int argc, char **argv)
{
    struct settings settings = {.bough = BENCH_BOUGH};
    struct bench bench;
    if (argc > 2 && strcmp(argv[1], "--worker") == 0)
        return bench_worker(argc - 2, argv + 2);
    parse(&settings, argc, argv);
    set_scale(&bench, settings.quick);
    if (settings.size != NULL)
        set_sizes(&bench, parse_size(settings.size));
    if (settings.rounds != NULL && (bench.rounds = (unsigned)atoi(settings.rounds)) == 0)
        bench_die("--rounds takes a number above 0");
    if (settings.year != NULL && (bench.year = (unsigned)atoi(settings.year)) == 0)
        bench_die("--year takes a number above 0");
    bench.bough = settings.bough;
    bench.self = self_path();
    make_directory(&bench, settings.parent);
    for (size_t i = 0; i < GROUP_COUNT; i++)
        if (settings.only == NULL || is_in_list(settings.only, groups[i].name)) {
            bench_progress("%s: %s", groups[i].name, groups[i].help);
            groups[i].run(&bench);
        }
    if (bench_clock_is_cpu)
        bench_note("sql, workload, big, selects at depth, several processes: processor time, without waiting for the "
                   "disk");
    return bench_print(settings.as_json) == 0 ? BENCH_ALL_HOLD : BENCH_MISSED;
}
