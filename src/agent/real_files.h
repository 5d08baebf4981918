// HostFiles on the disk. Every parent is opened by openat2(2) with RESOLVE_NO_SYMLINKS below the
// root (Linux 5.6), so no link planted by somebody else can lead a write elsewhere. Thread-safe.
#pragma once

#include <atomic>
#include <memory>

#include "agent/host_files.h"

namespace consort::agent {

class RealFiles final : public HostFiles {
 public:
  // Paths below `own` (the agent's own folder, canonical; may be empty) are this machine's, also
  // with another root. Errors: not_found, io, unsupported (no openat2).
  [[nodiscard]] static Result<std::unique_ptr<RealFiles>> open(const fs::path& root,
                                                               const fs::path& own = {});

  [[nodiscard]] Result<Entry> look(const std::string& path) const override;
  [[nodiscard]] Stamp stamp(const std::string& path) const override;
  [[nodiscard]] Result<std::string> read(const std::string& path, std::size_t limit) const override;
  [[nodiscard]] Result<Sight> look_and_read(const std::string& path,
                                            std::uint64_t size) const override;
  [[nodiscard]] Result<Fd> open_for_reading(const std::string& path) const override;
  [[nodiscard]] Result<Digest> digest(const std::string& path) const override;
  [[nodiscard]] Result<Attributes> attributes(const std::string& path) const override;
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& path) const override;
  [[nodiscard]] Result<std::string> write(const std::string& path, const Content& content,
                                          const Metadata& meta, const Validate& validate) override;
  [[nodiscard]] Status make_directory(const std::string& path, const Metadata& meta) override;
  [[nodiscard]] Status make_symlink(const std::string& path, const std::string& target) override;
  [[nodiscard]] Status set_metadata(const std::string& path, const Metadata& meta) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  [[nodiscard]] Status rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] fs::path host_path(const std::string& path) const override;

  // How often something on the disk was changed: tests and reports of a pass that must change
  // nothing.
  [[nodiscard]] std::uint64_t changes_made() const { return changes_; }

 private:
  RealFiles(fs::path root, Fd fd) : root_(std::move(root)), root_fd_(std::move(fd)) {}
  // An O_PATH descriptor of the directory. Error not_found when a part is absent.
  [[nodiscard]] Result<Fd> open_directory(const std::string& path) const;
  // The same, for reading where that is allowed, so that it can be synced as it is.
  [[nodiscard]] Result<Fd> open_directory_to_sync(const std::string& path) const;
  [[nodiscard]] Result<Fd> open_file(const std::string& path, int flags) const;

  [[nodiscard]] bool is_own(const std::string& path) const;
  [[nodiscard]] int base_fd(const std::string& path) const {
    return is_own(path) ? machine_fd_.get() : root_fd_.get();
  }

  fs::path root_;
  Fd root_fd_;
  std::string own_;  // "" when there is none
  Fd machine_fd_;    // of "/", when there is one
  std::atomic<std::uint64_t> changes_{0};
};

}  // namespace consort::agent
