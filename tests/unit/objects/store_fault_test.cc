// What a full disk does to the store: nothing but an error that says so.
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "objects/tree.h"
#include "store_fixture.h"

namespace consort::objects {
namespace {

using ::testing::HasSubstr;

class TinyDisk {
 public:
  explicit TinyDisk(fs::path path) : path_(std::move(path)) {
    mounted_ = make_folders(path_) && ::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=512k") == 0;
  }
  TinyDisk(const TinyDisk&) = delete;
  TinyDisk& operator=(const TinyDisk&) = delete;
  ~TinyDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool mounted() const { return mounted_; }

 private:
  fs::path path_;
  bool mounted_ = false;
};

TEST_F(StoreTest, AFullDiskLeavesTheStoreAsItWas) {
  const TinyDisk disk(folder_.path() / "disk");
  if (!disk.mounted())
    GTEST_SKIP() << "mounting a tmpfs needs root; the file size limit below stands in";
  const fs::path root = folder_.path() / "disk" / "store";
  const ObjectStore tiny = ObjectStore::open(root).value();
  const auto before = tiny.put("was here before").value();

  // When an object, a file, an arrival and a tree do not fit
  const std::string big = noise(2'000'000);
  ASSERT_TRUE(write_file_atomic(folder_.path() / "big", big));
  ASSERT_TRUE(make_folders(folder_.path() / "tree"));
  ASSERT_TRUE(write_file_atomic(folder_.path() / "tree" / "big", big));
  const auto put = tiny.put(big);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), ErrorCode::io);
  EXPECT_THAT(put.error().message(), HasSubstr("No space left"));
  EXPECT_THAT(put.error().hint_text(), HasSubstr("free space"));
  EXPECT_EQ(code_of(tiny.put_file(folder_.path() / "big")), ErrorCode::io);
  EXPECT_EQ(code_of(put_folder(tiny, folder_.path() / "tree")), ErrorCode::io);
  ASSERT_TRUE(tiny.append_partial(Digest::of(big), 0, big.substr(0, 100'000)));
  EXPECT_EQ(code_of(tiny.append_partial(Digest::of(big), 100'000, big.substr(100'000))),
            ErrorCode::io);

  // Then nothing half-written is left, what had arrived is kept, and smaller things still fit
  EXPECT_EQ(files_below(root / "objects"), 1U);
  EXPECT_EQ(files_below(root / "incoming"), 0U);
  EXPECT_EQ(tiny.partial_size(Digest::of(big)).value(), 100'000U);
  EXPECT_EQ(tiny.get(before).value(), "was here before");
  EXPECT_TRUE(tiny.put("small"));
}

TEST_F(StoreTest, AFileSizeLimitLeavesTheStoreAsItWas) {
  const auto before = store_.put("was here before").value();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = 100'000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto result = store_.put(noise(1'000'000));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, handler);

  EXPECT_EQ(code_of(result), ErrorCode::io);
  EXPECT_EQ(files_below(store_.root() / "objects"), 1U);
  EXPECT_EQ(files_below(store_.root() / "incoming"), 0U);
  EXPECT_EQ(store_.get(before).value(), "was here before");
}

}  // namespace
}  // namespace consort::objects
