#include "bench/measure.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "base/time.h"

namespace consort::bench {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double cpu_so_far() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

fs::path proc_file(pid_t pid, std::string_view name) {
  return fmt::format("/proc/{}/{}", pid == 0 ? "self" : std::to_string(pid), name);
}

// Four significant digits: more would be noise.
double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return 0;
  const double scale = std::pow(10.0, 3 - std::floor(std::log10(std::abs(value))));
  return std::strtod(fmt::format("{:.4g}", std::round(value * scale) / scale).c_str(), nullptr);
}

}  // namespace

Cost cost_of(const std::function<void()>& work) {
  const auto begun = std::chrono::steady_clock::now();
  const double cpu = cpu_so_far();
  work();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begun;
  return {cpu_so_far() - cpu, wall.count()};
}

Cost median_cost(int runs, const std::function<void()>& work, const std::function<void()>& before) {
  std::vector<Cost> costs;
  for (int run = 0; run < runs; ++run) {
    if (before) before();
    costs.push_back(cost_of(work));
  }
  std::sort(costs.begin(), costs.end(), [](const Cost& a, const Cost& b) { return a.cpu < b.cpu; });
  return costs[costs.size() / 2];
}

double median(std::vector<double> values) { return percentile(std::move(values), 0.5); }

double percentile(std::vector<double> values, double part) {
  if (values.empty()) give_up("nothing was measured");
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

std::int64_t anonymous_memory(pid_t pid) {
  const std::string status = must(read_file(proc_file(pid, "status")));
  const std::size_t at = status.find("RssAnon:");
  if (at == std::string::npos) give_up("this kernel does not tell RssAnon");
  return std::strtoll(status.c_str() + at + 8, nullptr, 10) * 1024;
}

double cpu_of_process(pid_t pid) {
  // Not /proc/PID/stat, which counts in ticks of 10 ms.
  double nanoseconds = 0;
  for (const auto& thread : fs::directory_iterator(proc_file(pid, "task")))
    nanoseconds += std::strtod(must(read_file(thread.path() / "schedstat")).c_str(), nullptr);
  return nanoseconds / 1e9;
}

void say(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

void give_up(const std::string& text) {
  std::fprintf(stderr, "the benchmark cannot go on: %s\n", text.c_str());
  std::exit(1);
}

void Record::add(const Figure& figure) {
  Json ratio;
  Json met;
  if (figure.floor && *figure.floor > 0) ratio = rounded(figure.value / *figure.floor);
  const double judged = ratio.is_null() ? figure.value : ratio.as_double();
  if (figure.goal)
    met = figure.better == Figure::Better::less ? judged <= *figure.goal : judged >= *figure.goal;
  figures_.push_back(Json::object({{"name", figure.name},
                                   {"value", rounded(figure.value)},
                                   {"unit", figure.unit},
                                   {"floor", figure.floor ? Json(rounded(*figure.floor)) : Json()},
                                   {"floorIs", figure.floor_is},
                                   {"ratio", ratio},
                                   {"goal", figure.goal ? Json(*figure.goal) : Json()},
                                   {"met", met}}));
  say(fmt::format("  {}: {:.4g} {}{}{}", figure.name, figure.value, figure.unit,
                  ratio.is_null() ? "" : fmt::format(" ({:.2f} × floor)", ratio.as_double()),
                  met.is_null()   ? ""
                  : met.as_bool() ? fmt::format(", goal {:g} met", *figure.goal)
                                  : fmt::format(", goal {:g} missed", *figure.goal)));
}

void Record::add_key(const Figure& figure) {
  add(figure);
  keys_[figure.name] = rounded(figure.value);
}

void Record::print() const {
  Json record =
      Json::object({{"bench", name_},
                    {"at", format_instant(SystemClock().now())},
                    {"processors", static_cast<std::int64_t>(std::thread::hardware_concurrency())},
                    {"figures", figures_}});
  for (const auto& [name, value] : keys_) record[name] = value;
  std::printf("%s\n", record.pretty().c_str());
}

}  // namespace consort::bench
