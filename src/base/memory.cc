#include "base/memory.h"

#include <malloc.h>

#include <cstddef>

// Of jemalloc, which only the programs are linked with (never under sanitizers).
extern "C" [[gnu::weak]] int mallctl(const char* name, void* old_value, size_t* old_length,
                                     void* new_value, size_t new_length);

namespace consort {

void return_unused_memory() {
  if (mallctl == nullptr) {
    ::malloc_trim(0);
    return;
  }
  mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
  // 4096 is MALLCTL_ARENAS_ALL.
  mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
}

}  // namespace consort
