#include "agent/resources/symlink.h"

#include <fmt/format.h>

namespace consort::agent {
namespace {

class SymlinkResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    const Entry entry = TRY(context.files.look(path_));
    const bool link = entry.kind == EntryKind::symlink;
    if (absent_ && entry.kind == EntryKind::absent) {
      verdict.evidence.push_back({path_, entry.stamp});
      return verdict;
    }
    if (!link && entry.kind != EntryKind::absent && (absent_ || !force_)) {
      return fail(ErrorCode::conflict, fmt::format("{} is in the way: it is a {}, not a symlink",
                                                   path_, entry_kind_name(entry.kind)))
          .hint(absent_ ? "remove it by hand, or use its own type"
                        : "remove it, or say force: true to have it moved aside");
    }
    if (absent_) {
      verdict.add("symlink", "-> " + entry.target, "absent");
    } else if (link && entry.target == target_) {
      verdict.evidence.push_back({path_, entry.stamp});
    } else {
      verdict.add("symlink", link ? "-> " + entry.target : std::string(entry_kind_name(entry.kind)),
                  "-> " + target_);
    }
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& /*verdict*/) const override {
    Applied out;
    if (absent_) {
      TRYV(context.files.remove(path_));
      return out;
    }
    const Entry entry = TRY(context.files.look(path_));
    if (entry.kind == EntryKind::directory || entry.kind == EntryKind::other) {
      out.notes.push_back("what was in the way is now " + TRY(context.files.set_aside(path_)));
    } else if (entry.kind == EntryKind::file) {
      out.backup = TRY(context.back_up(path_));
    }
    const Entry parent = TRY(context.files.look(parent_of(path_)));
    if (parent.kind == EntryKind::absent) {
      return fail(ErrorCode::not_found,
                  fmt::format("the directory {} of the link does not exist", parent_of(path_)))
          .hint(fmt::format("declare a resource of type directory with path: '{}'",
                            parent_of(path_)));
    }
    TRYV(context.files.make_symlink(path_, target_));
    return out;
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& /*context*/) const override {
    return {path_};
  }
  [[nodiscard]] const std::string& place() const override { return path_; }
  [[nodiscard]] std::vector<std::string> claims() const override { return {path_}; }
  [[nodiscard]] bool wants_absence() const override { return absent_; }
  [[nodiscard]] Result<Json> capture(const Context& context) const override {
    return capture_path(context, path_);
  }
  [[nodiscard]] Result<std::optional<Digest>> configuration() const override {
    return std::optional(wish());
  }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_symlink(JsonReader& reader,
                                                                         const fs::path& root);
  std::string path_;
  std::string target_;
  bool absent_ = false;
  bool force_ = false;
};

}  // namespace

Result<std::unique_ptr<Resource>> parse_symlink(JsonReader& reader, const fs::path& root) {
  auto out = std::make_unique<SymlinkResource>();
  out->path_ = read_path(reader, "path", root);
  out->absent_ = read_choice(reader, "ensure", {"present", "absent"}) == 1;
  out->target_ = reader.string("target", "");
  out->force_ = reader.boolean("force", false);
  if (!out->absent_ && out->target_.empty()) {
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: a symlink needs a target", reader.path_of("target")))
                    .hint("absolute, or relative to the link"));
  }
  return out;
}

}  // namespace consort::agent
