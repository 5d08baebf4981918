// What jemalloc reads at the start of a program.

// One heap for all threads: each has its own cache in front of it, and what one thread has freed is
// of use to the others. An agent is idle for most of its life and should be small then.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:1";
}
