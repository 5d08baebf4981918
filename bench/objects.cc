// the content store: putting, getting, capturing folders
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/digest.h"
#include "bench/measure.h"
#include "objects/tree.h"

namespace {

using namespace consort;
using namespace consort::bench;

constexpr int kRuns = 5;

// Half of it compresses well, as programs and texts do; a fixed sequence, so that runs compare.
std::string some_bytes(std::size_t size, std::uint64_t seed) {
  std::string out;
  out.reserve(size);
  std::uint64_t state = seed * 2'654'435'769U + 1;
  while (out.size() < size) {
    state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    if ((out.size() / 64) % 2 == 0) {
      out += static_cast<char>(state >> 56U);
    } else {
      out += "some text that repeats ";
    }
  }
  out.resize(size);
  return out;
}

// SHA-256 and one write, to a file that is renamed: what any such store must do.
void put_floor(const fs::path& folder, const std::vector<std::string>& blobs) {
  for (const std::string& blob : blobs) {
    const std::string temp = (folder / "temp").string();
    const Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    must(write_all(fd.get(), blob, temp));
    const std::string path = (folder / Digest::of(blob).hex()).string();
    if (::rename(temp.c_str(), path.c_str()) != 0) give_up("cannot rename " + path);
  }
}

void blobs(Record& record, const fs::path& folder, std::size_t count, std::size_t size,
           const std::string& name) {
  say(name);
  std::vector<std::string> blobs;
  for (std::size_t i = 0; i < count; ++i) blobs.push_back(some_bytes(size, i + size));
  std::vector<Digest> digests;
  for (const std::string& blob : blobs) digests.push_back(Digest::of(blob));
  const double bytes = static_cast<double>(count * size);
  const auto fresh = [&] {
    fs::remove_all(folder);
    must(make_folders(folder / "floor"));
  };
  const Cost floor = median_cost(
      kRuns, [&] { put_floor(folder / "floor", blobs); }, fresh);
  const Cost put = median_cost(
      kRuns,
      [&] {
        const auto store = must(objects::ObjectStore::open(folder / "store"));
        for (const std::string& blob : blobs)
          static_cast<void>(must(store.put(blob, Durability::cached)));
      },
      fresh);
  const auto store = must(objects::ObjectStore::open(folder / "store"));
  const Cost again = median_cost(kRuns, [&] {
    for (const std::string& blob : blobs)
      static_cast<void>(must(store.put(blob, Durability::cached)));
  });
  put_floor(folder / "floor", blobs);
  const Cost read = median_cost(kRuns, [&] {
    for (const Digest& digest : digests) {
      const std::string plain = must(read_file(folder / "floor" / digest.hex()));
      if (Digest::of(plain) != digest) give_up("wrong bytes");
    }
  });
  const Cost get = median_cost(kRuns, [&] {
    for (const Digest& digest : digests) static_cast<void>(must(store.get(digest)));
  });
  const auto each = static_cast<double>(count);
  record.add({name + ", put",
              bytes / put.wall / 1e6,
              "MB/s",
              bytes / floor.wall / 1e6,
              "SHA-256, write, rename",
              {},
              Figure::Better::more});
  record.add({name + ", put, each",
              put.wall / each * 1e6,
              "µs",
              floor.wall / each * 1e6,
              "SHA-256, write, rename",
              {}});
  record.add({name + ", put what is there, each",
              again.wall / each * 1e6,
              "µs",
              floor.wall / each * 1e6,
              "SHA-256, write, rename",
              {}});
  record.add({name + ", get, verified",
              bytes / get.wall / 1e6,
              "MB/s",
              bytes / read.wall / 1e6,
              "read, SHA-256",
              {},
              Figure::Better::more});
}

void trees(Record& record, const fs::path& folder) {
  say("a folder of 5 000 files as a tree");
  constexpr std::size_t kFiles = 5000;
  fs::remove_all(folder);
  for (std::size_t i = 0; i < kFiles; ++i) {
    const fs::path path = folder / "source" / fmt::format("d{}", i % 50);
    must(make_folders(path));
    must(write_file_atomic(path / fmt::format("f{}", i), some_bytes(4096, i), 0644,
                           Durability::cached));
  }
  const Cost floor = median_cost(kRuns, [&] {
    for (const auto& item : fs::recursive_directory_iterator(folder / "source")) {
      if (item.is_regular_file()) static_cast<void>(Digest::of(must(read_file(item.path()))));
    }
  });
  Digest tree;
  const auto capture = [&] {
    const auto store = must(objects::ObjectStore::open(folder / "store"));
    tree = must(objects::put_folder(store, folder / "source"));
  };
  const Cost first = median_cost(kRuns, capture, [&] { fs::remove_all(folder / "store"); });
  const Cost again = median_cost(kRuns, capture);
  const auto store = must(objects::ObjectStore::open(folder / "store"));
  const Cost out = median_cost(
      kRuns, [&] { must(objects::materialise_tree(store, tree, folder / "out")); },
      [&] { fs::remove_all(folder / "out"); });
  const auto rate = [](const Cost& cost) { return kFiles / cost.wall; };
  for (const auto& [name, cost] :
       {std::pair("tree capture, new", first), std::pair("tree capture, nothing new", again),
        std::pair("tree materialised", out)}) {
    record.add(
        {name, rate(cost), "files/s", rate(floor), "read, SHA-256", {}, Figure::Better::more});
  }
}

}  // namespace

int main() {
  const TempFolder folder = must(TempFolder::create("consort-bench-objects", "/dev/shm"));
  Record record("objects");
  blobs(record, folder.path() / "small", 2000, 4096, "objects of 4 KiB");
  blobs(record, folder.path() / "large", 8, 16U << 20U, "objects of 16 MiB");
  trees(record, folder.path() / "trees");
  record.print();
  return 0;
}
