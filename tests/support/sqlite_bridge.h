/* sqlite_bridge.h - puts SQLite's own files (the catalog) on the same simulated disk or failing system as ours: its
 * system calls go through bough__os, and its allocator asks faultos.
 */
#ifndef BOUGH_TESTS_SQLITE_BRIDGE_H
#define BOUGH_TESTS_SQLITE_BRIDGE_H

/* Before any use of SQLite in the process; whichever backend stands in bough__os at the time of a call counts. */
void sqlite_bridge_install(void);

#endif
