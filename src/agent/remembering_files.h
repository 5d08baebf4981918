// The host's files while a transition may still have to go back: what is there is remembered before
// it is changed. Thread-safe.
#pragma once

#include "agent/host_files.h"
#include "agent/originals.h"

namespace consort::agent {

class RememberingFiles final : public HostFiles {
 public:
  // `context` is what is captured with; its files are those that are changed.
  RememberingFiles(const Context& context, Originals& originals)
      : context_(context), originals_(originals) {
    context_.claimed = nullptr;  // of a set that may be exchanged meanwhile
  }

  [[nodiscard]] Result<Entry> look(const std::string& path) const override {
    return context_.files.look(path);
  }
  [[nodiscard]] Stamp stamp(const std::string& path) const override {
    return context_.files.stamp(path);
  }
  [[nodiscard]] Result<std::string> read(const std::string& path,
                                         std::size_t limit) const override {
    return context_.files.read(path, limit);
  }
  [[nodiscard]] Result<Sight> look_and_read(const std::string& path,
                                            std::uint64_t size) const override {
    return context_.files.look_and_read(path, size);
  }
  [[nodiscard]] Result<Fd> open_for_reading(const std::string& path) const override {
    return context_.files.open_for_reading(path);
  }
  [[nodiscard]] Result<Digest> digest(const std::string& path) const override {
    return context_.files.digest(path);
  }
  [[nodiscard]] Result<Attributes> attributes(const std::string& path) const override {
    return context_.files.attributes(path);
  }
  [[nodiscard]] Result<std::vector<std::string>> list(const std::string& path) const override {
    return context_.files.list(path);
  }
  [[nodiscard]] Result<std::string> write(const std::string& path, const Content& content,
                                          const Metadata& meta, const Validate& validate) override;
  [[nodiscard]] Status make_directory(const std::string& path, const Metadata& meta) override;
  [[nodiscard]] Status make_symlink(const std::string& path, const std::string& target) override;
  [[nodiscard]] Status set_metadata(const std::string& path, const Metadata& meta) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  [[nodiscard]] Result<std::string> set_aside(const std::string& path) override;
  [[nodiscard]] Status rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] fs::path host_path(const std::string& path) const override {
    return context_.files.host_path(path);
  }

 private:
  [[nodiscard]] Status remember(const std::string& path,
                                Originals::Change change = Originals::Change::any) const {
    return originals_.keep(context_, {path}, change);
  }
  // Of what comes to be there.
  [[nodiscard]] Status remember_place(const std::string& path) const {
    TRYV(remember(path));
    return originals_.note_written(path);
  }

  Context context_;
  Originals& originals_;
};

}  // namespace consort::agent
