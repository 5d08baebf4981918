// HostFiles for a dry run: reads fall through to the real host, changes are remembered only, so
// that later resources see the host as it will be. Thread-safe.
#pragma once

#include <map>
#include <mutex>

#include "agent/host_files.h"

namespace consort::agent {

class OverlayFiles final : public HostFiles {
 public:
  // `beneath` must outlive this.
  explicit OverlayFiles(const HostFiles& beneath) : beneath_(beneath) {}

  [[nodiscard]] Result<Entry> look(const std::string& path) const override;
  [[nodiscard]] Stamp stamp(const std::string& path) const override;
  [[nodiscard]] Result<std::string> read(const std::string& path, std::size_t limit) const override;
  [[nodiscard]] Result<Fd> open_for_reading(const std::string& path) const override {
    return beneath_.open_for_reading(path);
  }
  [[nodiscard]] Result<Digest> digest(const std::string& path) const override;
  [[nodiscard]] Result<Attributes> attributes(const std::string& path) const override {
    return beneath_.attributes(path);
  }
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& path) const override;
  [[nodiscard]] Result<std::string> write(const std::string& path, const Content& content,
                                          const Metadata& meta, const Validate& validate) override;
  [[nodiscard]] Status make_directory(const std::string& path, const Metadata& meta) override;
  [[nodiscard]] Status make_symlink(const std::string& path, const std::string& target) override;
  [[nodiscard]] Status set_metadata(const std::string& path, const Metadata& meta) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  // What is moved is not seen at its new place: it is out of the way there, and that is all.
  [[nodiscard]] Status rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] fs::path host_path(const std::string& path) const override {
    return beneath_.host_path(path);
  }

  // A file that a command would make; what is in it cannot be known.
  void will_be_made(const std::string& path);

 private:
  struct Change {
    Entry entry;
    Content content;
    bool known = true;   // false: made by a command
    bool fresh = false;  // a directory that is not on the disk: nothing of the disk shows below it
    bool on_disk = false;  // only the metadata differs; content is read from beneath
  };
  [[nodiscard]] const Change* find(const std::string& path) const;
  [[nodiscard]] bool hidden(const std::string& path) const;
  [[nodiscard]] Result<Entry> look_locked(const std::string& path) const;
  [[nodiscard]] Status need_parent(const std::string& path) const;

  const HostFiles& beneath_;
  mutable std::mutex mutex_;
  std::map<std::string, Change> changes_;
};

}  // namespace consort::agent
