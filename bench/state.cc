// durable commits a second, alone and in groups
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <thread>

#include "bench/measure.h"
#include "state/sqlite_store.h"

namespace {

using namespace consort;
using namespace consort::bench;
using namespace consort::state;

constexpr int kRuns = 5;
constexpr std::size_t kValue = 500;

Transaction put(const std::string& key) {
  return Transaction{{}, {Write::put(key, std::string(kValue, 'x'))}};
}

// Writing a page and syncing it, in a file that has its size already (as SQLite's log has, most of
// the time): what one durable commit cannot do without.
double fsyncs_per_second(const fs::path& folder) {
  constexpr int kCommits = 300;
  constexpr std::size_t kPage = 4096;
  const std::string path = (folder / "log").string();
  const std::string page(kPage, 'x');
  must(write_file_atomic(path, std::string(kCommits * kPage, ' ')));
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const Cost cost = median_cost(kRuns, [&] {
    for (int i = 0; i < kCommits; ++i) {
      if (::pwrite(fd.get(), page.data(), kPage, static_cast<off_t>(kPage) * i) < 0)
        give_up("cannot write");
      if (::fdatasync(fd.get()) != 0) give_up("cannot sync");
    }
  });
  return kCommits / cost.wall;
}

double commits_per_second(StateStore& store, int writers, int each) {
  const Cost cost = median_cost(kRuns, [&] {
    std::vector<std::jthread> threads;
    for (int w = 0; w < writers; ++w) {
      threads.emplace_back([&store, w, each] {
        for (int i = 0; i < each; ++i) {
          const auto outcome = must(store.commit(put(fmt::format("writer/{}/{}", w, i % 100))));
          if (!outcome.committed) give_up("a commit without conditions was refused");
        }
      });
    }
  });
  return writers * each / cost.wall;
}

void store_on(Record& record, const fs::path& folder, const std::string& where,
              std::optional<double> floor) {
  say("SQLite on " + where);
  const SystemClock clock;
  const auto store = must(open_sqlite_store(folder / "state.db", clock));
  const std::string floor_is = floor ? "write of a page and fdatasync, one after the other" : "";
  record.add({where + ", commits, 1 writer",
              commits_per_second(*store, 1, 300),
              "1/s",
              floor,
              floor_is,
              {},
              Figure::Better::more});
  record.add({where + ", commits, 64 writers",
              commits_per_second(*store, 64, 50),
              "1/s",
              floor,
              floor_is,
              {},
              Figure::Better::more});
  constexpr int kReads = 20'000;
  const Cost reads = median_cost(kRuns, [&] {
    for (int i = 0; i < kReads; ++i)
      static_cast<void>(must(store->get(fmt::format("writer/0/{}", i % 50))));
  });
  record.add(
      {where + ", reads, 1 reader", kReads / reads.wall, "1/s", {}, "", {}, Figure::Better::more});
}

}  // namespace

int main() {
  Record record("state");
  const TempFolder disk = must(TempFolder::create("consort-bench-state", "/var/tmp"));
  store_on(record, disk.path(), "disk", fsyncs_per_second(disk.path()));
  // Where syncing is free, what is left is the work of the store itself.
  const TempFolder memory = must(TempFolder::create("consort-bench-state", "/dev/shm"));
  store_on(record, memory.path(), "memory", {});
  record.print();
  return 0;
}
