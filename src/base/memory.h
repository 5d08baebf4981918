// What the allocator holds and nobody uses.
#pragma once

namespace consort {

// Gives it back to the system: for a process that has just done something large and will now rest.
// Takes up to some milliseconds. Thread-safe; the calling thread's own cache is emptied, those of
// other threads are not.
void return_unused_memory();

}  // namespace consort
