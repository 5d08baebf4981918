#include "bench/system_calls.h"

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "bench/measure.h"

namespace consort::bench {

std::int64_t count_system_calls(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child < 0) give_up("cannot fork");
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
  if (!WIFSTOPPED(status) || ::ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions) != 0)
    give_up("cannot trace a child of our own (ptrace is forbidden here)");
  ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  std::int64_t stops = 0;
  while (true) {
    const pid_t thread = ::waitpid(-1, &status, __WALL);
    if (thread < 0) give_up("the traced child is lost");
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (thread == child) return stops / 2;  // each call stops at its entry and at its exit
      continue;
    }
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) ++stops;
    ::ptrace(PTRACE_SYSCALL, thread, nullptr, nullptr);
  }
}

}  // namespace consort::bench
