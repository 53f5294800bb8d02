/* store.c - the handle behind bough_store. */
#include "store.h"

#include "error.h"
#include "hidden.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

void bough__options_read(bough_options *out, const bough_options *options)
{
    bough_options defaults = BOUGH_OPTIONS_INIT;
    *out = defaults;
    if (!options)
        return;
    size_t known = options->struct_size < sizeof *out ? options->struct_size : sizeof *out;
    memcpy(out, options, known);
    out->struct_size = sizeof *out;
}

void bough__options_for(bough_options *out, const struct bough_store *store, const bough_options *options)
{
    bough__options_read(out, options);
    if (!options)
        out->timeout_ms = store->timeout_ms;
}

int bough__store_open(struct bough_store **out, const char *path, const bough_options *options)
{
    bough_options read;
    bough__options_read(&read, options);
    *out = NULL;
    bough_store *store = bough__alloc(sizeof *store);
    if (!store)
        return BOUGH_NOMEM;
    store->timeout_ms = read.timeout_ms;
    store->owner_fd = -1;
    int rc = bough__space_open(&store->space, path);
    if (rc == BOUGH_OK)
        rc = bough__catalog_open(&store->catalog, store->space->directory, store->timeout_ms);
    if (rc == BOUGH_OK)
        rc = bough__catalog_setting_get(&store->origin, store->catalog, "origin");
    if (rc == BOUGH_OK)
        *out = store;
    else
        bough_store_close(store);
    return rc;
}

int bough_store_open(bough_store **out, const char *path, const bough_options *options)
{
    int rc = bough__store_open(out, path, options);
    if (rc == BOUGH_OK)
        bough__hidden_sweep(*out);
    return rc;
}

void bough_store_close(bough_store *store)
{
    if (!store)
        return;
    struct bough__error_state error;
    bough__error_save(&error);
    bough__catalog_close(store->catalog);
    bough__space_close(store->space);
    bough__os_close(&store->owner_fd);
    bough__error_restore(&error);
    free(store->origin);
    free(store);
}

const char *bough_store_path(const bough_store *store)
{
    return store->space->directory;
}

const char *bough_store_origin(const bough_store *store)
{
    return store->origin;
}
