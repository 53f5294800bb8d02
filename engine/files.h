/* files.h - reading the store's layer and node files, with bounded descriptors and mappings.
 *
 * One for each store that a process has open, shared by its handles and threads. At most 64 descriptors and 256
 * mappings (I11) in the whole process, whatever the depth of a branch; what was not used lately goes first. A window in
 * use by a copy is never unmapped (a count keeps it). Reads copy into the caller's buffer, since a check is worth
 * something only on bytes that nobody else can change (I9).
 */
#ifndef BOUGH_ENGINE_FILES_H
#define BOUGH_ENGINE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bough__file_kind { BOUGH__LAYER_FILE, BOUGH__NODE_FILE };

struct bough__files;

/* directory: absolute path of the store; copied. */
int bough__files_open(struct bough__files **out, const char *directory);
void bough__files_close(struct bough__files *files);
/* Copies len bytes at offset of file (kind, number). use_mapping false reads by pread (PRAGMA mmap_size=0). Errors:
 * BOUGH_CORRUPT when the file is missing, a symlink or shorter than offset + len (naming file and offset), BOUGH_IO.
 * Any thread. */
int bough__files_read(struct bough__files *files, enum bough__file_kind kind, uint32_t number, uint64_t offset,
                      void *buffer, size_t len_bytes, bool use_mapping);
/* Forgets the descriptor and mappings of one file (it was deleted). */
void bough__files_forget(struct bough__files *files, enum bough__file_kind kind, uint32_t number);
/* Others of this process have so many descriptors of the 64 (32 at most); the pool makes do with the rest. */
void bough__files_leave_room(unsigned count);
/* Closes a descriptor that nobody uses at the moment; false: there is none. Any thread. */
bool bough__files_spare(void);
/* "layers/12.layer", "nodes/3.nodes", below the store. */
#define BOUGH__FILE_NAME_SIZE 32
void bough__file_name(char out[BOUGH__FILE_NAME_SIZE], enum bough__file_kind kind, uint32_t number);
/* The pool over a fork(); see process.h. The child's is empty. */
void bough__files_before_fork(void);
void bough__files_after_fork_in_parent(void);
void bough__files_after_fork_in_child(void);
/* Adds what was read since the process began, for tests and benchmarks. */
uint64_t bough__files_bytes_read(const struct bough__files *files);

#endif
