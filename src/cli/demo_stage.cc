#include "cli/demo_stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/text.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

std::atomic<bool> interrupted{false};
std::atomic<pid_t> running{0};

// Writes each line of a program's output with an indent, as it comes.
class Indenter {
 public:
  void take(std::string_view bytes) {
    line_ += bytes;
    for (std::size_t end = 0; (end = line_.find('\n')) != std::string::npos;
         line_.erase(0, end + 1))
      print("    " + line_.substr(0, end + 1));
  }
  void finish() {
    if (!line_.empty()) print("    " + line_ + "\n");
    line_.clear();
  }

 private:
  std::string line_;
};

}  // namespace

void interrupt_stage() {
  interrupted = true;
  platform::Lab::interrupt();
  if (const pid_t pid = running; pid > 0) ::kill(-pid, SIGTERM);
}

Status check_not_interrupted() {
  if (interrupted) return fail(ErrorCode::interrupted, "the demo was stopped");
  return {};
}

Stage::Stage(platform::Lab lab, fs::path folder, fs::path self)
    : lab_(std::move(lab)),
      folder_(std::move(folder)),
      self_(std::move(self)),
      orders_(folder_ / "orders.jsonl"),
      customer_(folder_ / "customer", lab_.id() + "/customer") {}

void Stage::begin_step(int number, std::string_view title) {
  step_ = number;
  print(fmt::format("\n{}\n", paint(Colour::bold, fmt::format("{}. {}", number, title))));
}

void Stage::say(std::string_view text) { print(fmt::format("  {}\n", text)); }

bool Stage::check(std::string what, bool passed, std::string detail) {
  print(fmt::format("  {} {}{}\n", passed ? paint(Colour::green, "✓") : paint(Colour::red, "✗"),
                    what, detail.empty() ? "" : paint(Colour::dim, fmt::format(" ({})", detail))));
  checks_.push_back({step_, std::move(what), passed, std::move(detail)});
  return passed;
}

Result<ProcessOutcome> Stage::run(const std::vector<std::string>& argv, bool shown) {
  TRYV(check_not_interrupted());
  Indenter indenter;
  ProcessSpec spec;
  spec.argv = argv;
  spec.folder = folder_ / "site";
  spec.timeout = minutes(3);
  spec.environment = {{"CONSORT_LAB", lab_.folder().string()}};
  spec.output_limit = 16U << 20U;
  if (shown) spec.on_output = [&](std::string_view bytes) { indenter.take(bytes); };
  spec.on_start = [](pid_t pid) { running = pid; };
  auto outcome = run_process(spec);
  running = 0;
  if (shown) indenter.finish();
  TRYV(check_not_interrupted());
  return outcome;
}

Result<ProcessOutcome> Stage::consort(std::vector<std::string> arguments) {
  std::vector<std::string> typed = {"consort"};
  typed.insert(typed.end(), arguments.begin(), arguments.end());
  print(fmt::format("  {} {}\n", paint(Colour::cyan, "$"), paint(Colour::bold, quote_argv(typed))));
  typed[0] = self_.string();
  return run(arguments.front() == "lab" ? typed : lab_.inside_argv(typed), true);
}

Result<Json> Stage::ask(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), self_.string());
  arguments.emplace_back("--json");
  const ProcessOutcome outcome = TRY(run(lab_.inside_argv(arguments), false));
  auto json = parse_json(trim(outcome.output));
  if (!json)
    return fail(ErrorCode::internal,
                fmt::format("{} printed no JSON record (exit status {}): {}", quote_argv(arguments),
                            outcome.status, last_lines(outcome.errors, 5)));
  return *json;
}

Result<ProcessOutcome> Stage::in_host(const std::string& host, const std::string& script) {
  return consort({"lab", "exec", host, "--", "sh", "-c", script});
}

Result<std::string> Stage::look(const std::string& host, const std::string& script) {
  const ProcessOutcome outcome = TRY(run(TRY(lab_.exec_argv(host, {"sh", "-c", script})), false));
  if (!outcome.ok())
    return fail(ErrorCode::io, fmt::format("on {}: '{}' ended with status {}: {}", host, script,
                                           outcome.status, last_lines(outcome.errors, 3)));
  return std::string(trim(outcome.output));
}

Result<std::string> Stage::query(const std::string& sql) {
  const std::string address = TRY(lab_.host("db1")).address;
  const std::vector<std::string> argv = {"/usr/lib/postgresql/15/bin/psql",
                                         "--no-psqlrc",
                                         "-At",
                                         "-F",
                                         " ",
                                         "-h",
                                         address,
                                         "-U",
                                         "shop",
                                         "-d",
                                         "shop",
                                         "-c",
                                         sql};
  const ProcessOutcome outcome = TRY(run(TRY(lab_.exec_argv("db1", argv)), false));
  if (!outcome.ok())
    return fail(ErrorCode::unavailable, fmt::format("PostgreSQL on db1 does not answer: {}",
                                                    last_lines(outcome.errors, 3)));
  return std::string(trim(outcome.output));
}

Result<Duration> Stage::wait_until(const std::string& what, Duration limit,
                                   const std::function<Result<bool>()>& condition) {
  const auto begun = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
  };
  std::string problem;
  while (elapsed() < limit) {
    TRYV(check_not_interrupted());
    const auto met = condition();
    if (met && *met) return elapsed();
    problem = met ? "" : ": " + met.error().message();
    std::this_thread::sleep_for(Duration(10));
  }
  return fail(ErrorCode::timeout,
              fmt::format("{} did not happen within {}{}", what, human_duration(limit), problem));
}

Status Stage::start_customer() {
  const std::string address = TRY(lab_.host("lb1")).address;
  platform::Keep keep;
  keep.argv =
      lab_.inside_argv({self_.string(), "demo-client", fmt::format("http://{}:8000", address),
                        (folder_ / "orders.jsonl").string()});
  keep.environment = {{platform::kMemberVariable, lab_.id()}};
  TRYV(write_file_atomic(folder_ / "orders.jsonl", "", 0644, Durability::cached));
  return customer_.start(self_, keep);
}

void Stage::stop_customer() { customer_.stop(); }

Result<std::size_t> Stage::mark() {
  TRYV(orders_.refresh());
  return orders_.answers().size();
}

Status Stage::wait_for_orders(std::size_t more) {
  const std::size_t begin = TRY(mark());
  const auto waited =
      wait_until(fmt::format("{} acknowledged orders", more), seconds(30), [&]() -> Result<bool> {
        TRYV(orders_.refresh());
        return orders_.acknowledged_since(begin) >= more;
      });
  if (waited) return {};
  const auto refused = orders_.refused_since(begin);
  return fail(Error(waited.error())
                  .context(refused.empty() ? "no answer came"
                                           : "the last answer: " + refused.back()->problem));
}

Result<std::vector<std::int64_t>> Stage::lost_orders() {
  TRYV(orders_.refresh());
  const auto acknowledged = orders_.all_acknowledged();
  std::map<std::int64_t, std::int64_t> stored;
  for (const std::string& line : split(TRY(query("SELECT number, quantity FROM orders")), '\n')) {
    const std::vector<std::string> fields = split(line, ' ');
    if (fields.size() == 2) stored[std::stoll(fields[0])] = std::stoll(fields[1]);
  }
  std::vector<std::int64_t> out;
  for (const auto& [number, quantity] : acknowledged) {
    const auto it = stored.find(number);
    if (it == stored.end() || it->second != quantity) out.push_back(number);
  }
  return out;
}

}  // namespace consort::cli
