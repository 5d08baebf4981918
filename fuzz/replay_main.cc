// Runs a fuzz target over files and folders of inputs: `replay_NAME PATH…`. How a found input is
// looked at in a debugger, and how every build tests that what was found once stays mended.
#include <algorithm>
#include <vector>

#include "base/files.h"
#include "fuzz/input.h"

namespace {

using namespace consort;

int replay(const fs::path& file) {
  const auto bytes = read_file(file);
  if (!bytes) {
    std::fprintf(stderr, "%s", render_error(bytes.error()).c_str());
    return 1;
  }
  std::fprintf(stderr, "%s\n", file.c_str());
  // A buffer of exactly this size, so that a read beyond it is seen.
  const std::vector<std::uint8_t> input(bytes->begin(), bytes->end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int failed = 0;
  int played = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<fs::path> files;
    if (fs::is_directory(argv[i])) {
      for (const auto& item : fs::directory_iterator(argv[i])) files.push_back(item.path());
    } else {
      files.emplace_back(argv[i]);
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) failed += replay(file);
    played += static_cast<int>(files.size());
  }
  if (played == 0) {
    std::fprintf(stderr, "error: no inputs\n  hint: %s FILE|FOLDER…\n", argv[0]);
    return 1;
  }
  return failed == 0 ? 0 : 1;
}
