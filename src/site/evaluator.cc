#include "site/evaluator.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <libjsonnet.h>  // a C header without its own guard for C++
}

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <optional>
#include <set>

#include "base/text.h"

namespace consort::site {
namespace {

// --- in the child ----------------------------------------------------------------------------

struct Context {
  JsonnetVm* vm = nullptr;
  const EndpointTable* endpoints = nullptr;
  std::size_t bytes_left = 0;
  std::map<std::string, std::string> sources;
  std::set<std::string> seen;
  int out = -1;                                                // where records go
  std::optional<std::pair<std::size_t, std::size_t>> attempt;  // what this process is to try
};

// One record per line; the last one says which files were read.
void emit(const Context& context, const Json& record) {
  if (!write_all(context.out, record.dump() + "\n", "the evaluation's result")) ::_exit(3);
}

// What became of an attempt, and of the process that made it.
void emit_attempt(const Context& context, std::pair<std::size_t, std::size_t> part, Json outcome) {
  outcome["from"] = part.first;
  outcome["to"] = part.second;
  emit(context, outcome);
}

char* copy_out(JsonnetVm* vm, std::string_view text) {
  char* out = jsonnet_realloc(vm, nullptr, text.size() + 1);
  std::memcpy(out, text.data(), text.size());
  out[text.size()] = '\0';
  return out;
}

std::string not_utf8(const fs::path& path, std::string_view text) {
  std::size_t line = 1;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    if (!is_utf8(text.substr(0, end))) break;
    text.remove_prefix(end + 1);
    ++line;
  }
  return fmt::format("{}: line {} is not UTF-8", path.string(), line);
}

char* import_callback(void* raw, const char* base, const char* rel, char** found_here,
                      int* success) {
  auto& context = *static_cast<Context*>(raw);
  const auto refuse = [&](const std::string& why) {
    *success = 0;
    return copy_out(context.vm, why);
  };
  if (std::string_view(rel) == "consort.libsonnet") {
    *success = 1;
    *found_here = copy_out(context.vm, "consort.libsonnet");
    return copy_out(context.vm, consort_libsonnet());
  }
  const fs::path path = fs::path(rel).is_absolute() ? fs::path(rel) : fs::path(base) / rel;
  const auto text = read_file(path, context.bytes_left);
  if (!text) {
    if (text.error().code() == ErrorCode::too_large)
      return refuse(
          fmt::format("{} is too large: the sources of a site may have {} bytes altogether",
                      path.string(), context.bytes_left));
    return refuse(text.error().message());
  }
  // libjsonnet would quietly put U+FFFD in the place of what it does not understand.
  if (!is_utf8(*text)) return refuse(not_utf8(path, *text));
  const std::string name = path.lexically_normal().string();
  if (context.seen.insert(name).second) {
    context.bytes_left -= text->size();
    context.sources[name] = Digest::of(*text).str();
  }
  *success = 1;
  *found_here = copy_out(context.vm, name);
  return copy_out(context.vm, *text);
}

JsonnetJsonValue* endpoint_callback(void* raw, const JsonnetJsonValue* const* argv, int* success) {
  auto& context = *static_cast<Context*>(raw);
  const char* service = jsonnet_json_extract_string(context.vm, argv[0]);
  const char* endpoint = jsonnet_json_extract_string(context.vm, argv[1]);
  const auto refuse = [&](const std::string& why) {
    *success = 0;
    return jsonnet_json_make_string(context.vm, why.c_str());
  };
  if (service == nullptr || endpoint == nullptr)
    return refuse("endpoint() takes the names of a service and of its endpoint");
  if (context.endpoints == nullptr)
    return refuse(
        fmt::format("the address of {}/{} is not known yet: 'on', 'needs', 'uses', 'after', "
                    "'provides' and the inventories may not depend on it",
                    service, endpoint));
  const auto it = context.endpoints->find(fmt::format("{}/{}", service, endpoint));
  if (it == context.endpoints->end())
    return refuse(fmt::format("service '{}' has no endpoint '{}'", service, endpoint));
  JsonnetJsonValue* out = jsonnet_json_make_object(context.vm);
  const auto list = [&](const std::vector<std::string>& items) {
    JsonnetJsonValue* array = jsonnet_json_make_array(context.vm);
    for (const std::string& item : items)
      jsonnet_json_array_append(context.vm, array,
                                jsonnet_json_make_string(context.vm, item.c_str()));
    return array;
  };
  jsonnet_json_object_append(context.vm, out, "addresses", list(it->second.addresses));
  jsonnet_json_object_append(context.vm, out, "hosts", list(it->second.hosts));
  jsonnet_json_object_append(
      context.vm, out, "port",
      jsonnet_json_make_number(context.vm, static_cast<double>(it->second.port)));
  *success = 1;
  return out;
}

constexpr int kAttemptFailed = 4;  // exit status

JsonnetJsonValue* attempt_callback(void* raw, const JsonnetJsonValue* const* argv, int* success) {
  auto& context = *static_cast<Context*>(raw);
  double from = 0;
  double to = 0;
  *success = 1;
  if (jsonnet_json_extract_number(context.vm, argv[0], &from) == 0 ||
      jsonnet_json_extract_number(context.vm, argv[1], &to) == 0) {
    *success = 0;
    return jsonnet_json_make_string(context.vm, "attempt() takes two numbers");
  }
  const std::pair part(static_cast<std::size_t>(from), static_cast<std::size_t>(to));
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    // When the evaluation is given up, what it has begun ends with it.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(3);
    context.attempt = part;
    return jsonnet_json_make_string(context.vm, "try");
  }
  int status = 0;
  while (pid > 0 && ::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return jsonnet_json_make_string(context.vm, "done");
  const bool told = pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == kAttemptFailed;
  if (!told && part.second - part.first <= 1)
    emit_attempt(context, part, Json::object({{"died", pid < 0 ? SIGKILL : status}}));
  return jsonnet_json_make_string(context.vm, "failed");
}

JsonnetJsonValue* done_callback(void* raw, const JsonnetJsonValue* const* argv, int* success) {
  auto& context = *static_cast<Context*>(raw);
  const char* text = jsonnet_json_extract_string(context.vm, argv[0]);
  if (text != nullptr && context.attempt) {
    emit_attempt(context, *context.attempt, Json::object({{"failed", false}, {"text", text}}));
    ::_exit(0);
  }
  *success = 0;
  return jsonnet_json_make_string(context.vm, "done() takes a text, once, in an attempt");
}

void limit_child(const EvaluationLimits& limits) {
  const auto cpu = static_cast<rlim_t>(std::max<std::int64_t>(1, limits.deadline.count() / 1000));
  const rlimit cpu_limit{cpu, cpu + 1};
  ::setrlimit(RLIMIT_CPU, &cpu_limit);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const rlimit stack{64U << 20U, 64U << 20U};
  ::setrlimit(RLIMIT_STACK, &stack);
#ifndef CONSORT_SANITIZED
  // libjsonnet's last words; ours say more.
  if (const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0)
    ::dup2(nowhere, STDERR_FILENO);
  // The sanitizers reserve terabytes of address space; under them only time is limited.
  const rlimit memory{limits.memory, limits.memory};
  ::setrlimit(RLIMIT_AS, &memory);
#endif
}

[[noreturn]] void child(const std::string& snippet, const EndpointTable* endpoints,
                        const EvaluationLimits& limits, int out) {
  limit_child(limits);
  Context context;
  context.vm = jsonnet_make();
  context.endpoints = endpoints;
  context.bytes_left = limits.source_bytes;
  context.out = out;
  jsonnet_import_callback(context.vm, import_callback, &context);
  const auto native = [&](const char* name, JsonnetNativeCallback* callback,
                          const std::vector<const char*>& parameters) {
    jsonnet_native_callback(context.vm, name, callback, &context, parameters.data());
  };
  native("consort.endpoint", endpoint_callback, {"service", "endpoint", nullptr});
  native("consort.attempt", attempt_callback, {"from", "to", nullptr});
  native("consort.done", done_callback, {"text", nullptr});
  jsonnet_max_stack(context.vm, 500);
  int error = 0;
  const std::string text = jsonnet_evaluate_snippet(context.vm, "<site>", snippet.c_str(), &error);
  const Json outcome = Json::object({{"failed", error != 0}, {"text", text}});
  if (context.attempt) {
    // Several at once are tried again, by halves.
    if (context.attempt->second - context.attempt->first <= 1)
      emit_attempt(context, *context.attempt, outcome);
    ::_exit(kAttemptFailed);
  }
  emit(context, outcome);
  Json sources = Json::object();
  for (const auto& [path, digest] : context.sources) sources[path] = digest;
  emit(context, Json::object({{"sources", sources}}));
  ::_exit(0);
}

// --- in the parent ---------------------------------------------------------------------------

Result<std::string> read_until(int fd, pid_t pid, const EvaluationLimits& limits) {
  const auto begun = std::chrono::steady_clock::now();
  std::string out;
  std::array<char, 65536> buffer{};
  while (true) {
    const auto left = limits.deadline - std::chrono::duration_cast<Duration>(
                                            std::chrono::steady_clock::now() - begun);
    if (left.count() <= 0 || out.size() > limits.result_bytes) {
      ::kill(pid, SIGKILL);
      if (left.count() > 0)
        return fail(ErrorCode::too_large, fmt::format("the evaluated site is larger than {} MiB",
                                                      limits.result_bytes >> 20U));
      return fail(ErrorCode::timeout, fmt::format("the site did not finish evaluating within {}",
                                                  human_duration(limits.deadline)))
          .hint("look for an endless recursion or a very large comprehension");
    }
    pollfd poll_fd{fd, POLLIN, 0};
    const int ready =
        ::poll(&poll_fd, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 1000)));
    if (ready <= 0) continue;
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n == 0) return out;
    if (n > 0) out.append(buffer.data(), static_cast<std::size_t>(n));
    if (n < 0 && errno != EINTR) return fail_errno(errno, "cannot read the evaluation's result");
  }
}

Failure died(int status, const EvaluationLimits& limits) {
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal == SIGXCPU || signal == SIGKILL) {
    return fail(ErrorCode::timeout, fmt::format("the site used up its {} of processor time",
                                                human_duration(limits.deadline)))
        .hint("look for an endless recursion or a very large comprehension");
  }
  if (signal == SIGSEGV)
    return fail(ErrorCode::too_large, "the site is nested too deeply to be evaluated")
        .hint("look for brackets without end, or a value inside itself");
  return fail(ErrorCode::too_large, fmt::format("evaluating the site needs more than {} MiB of "
                                                "memory (or a deeper stack than there is)",
                                                limits.memory >> 20U))
      .hint("look for an endless recursion or a very large comprehension");
}

Result<Json> result_of(const Json& record, const EvaluationLimits& limits) {
  if (record.find("died") != nullptr) return died(static_cast<int>(record.int_or("died")), limits);
  if (record.bool_or("failed")) return fail(parse_jsonnet_error(record.string_or("text")));
  return parse_json(record.string_or("text"), "evaluation", {limits.result_bytes, 200});
}

}  // namespace

Result<Evaluated> run_evaluator(const std::string& snippet, const EndpointTable* endpoints,
                                const EvaluationLimits& limits) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return fail_errno(errno, "cannot create a pipe");
  Fd read_end(fds[0]);
  Fd write_end(fds[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "cannot start the evaluation");
  if (pid == 0) {
    read_end.reset();
    child(snippet, endpoints, limits, write_end.get());
  }
  write_end.reset();
  auto text = read_until(read_end.get(), pid, limits);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!text) return fail(std::move(text).error());
  Evaluated out;
  bool complete = false;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const Json line =
        TRY(parse_json(rest.substr(0, end), "evaluation", {limits.result_bytes * 2, 20}));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (const Json* sources = line.find("sources")) {
      complete = true;
      for (const auto& [path, digest] : sources->as_object())
        out.sources[path] = digest.as_string();
      continue;
    }
    auto result = result_of(line, limits);
    if (line.find("to") == nullptr)
      out.value = std::move(result);
    else
      out.attempts.push_back({static_cast<std::size_t>(line.int_or("from")),
                              static_cast<std::size_t>(line.int_or("to")), std::move(result)});
  }
  if (!complete || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return died(status, limits);
  return out;
}

}  // namespace consort::site
