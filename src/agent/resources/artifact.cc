#include "agent/resources/artifact.h"

#include <fmt/format.h>

#include "objects/tree.h"

namespace consort::agent {
namespace {

constexpr std::size_t kShownChanges = 20;
// Each costs an inotify watch. Of larger trees only the top is watched, the rest is looked at in
// the regular passes.
constexpr std::size_t kMostWatchedFolders = 512;

class ArtifactResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    const objects::Tree tree = TRY(read(context));
    const objects::TreeDifferences differences = TRY(compare(context, tree));
    Verdict verdict;
    for (const auto& [path, how] : differences) {
      if (verdict.changes.size() == kShownChanges) break;
      verdict.add(path, how, "as deployed");
    }
    if (differences.size() > kShownChanges)
      verdict.reason = fmt::format("{} entries in all", differences.size());
    if (!differences.empty()) return verdict;
    // Not of directories: what a program leaves beside its files changes theirs, and nothing here.
    for (const auto& [path, entry] : tree) {
      if (entry.kind == objects::TreeEntry::Kind::directory) continue;
      const std::string place = in_folder(path);
      verdict.evidence.push_back({place, context.files.stamp(place)});
    }
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& /*verdict*/) const override {
    const objects::Tree tree = TRY(read(context));
    const objects::TreeDifferences differences = TRY(compare(context, tree));
    // Not through context.files: a way back has no business here, the store knows what belongs.
    if (!context.dry_run())
      TRYV(objects::mend_tree(*context.artifacts, tree, host_folder(context), differences));
    return Applied{};
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& context) const override {
    std::vector<std::string> out = {path_};
    if (!is_tree_) return out;
    out.push_back(path_ + "/");
    const auto tree = read(context);
    if (!tree) return out;
    for (const auto& [path, entry] : *tree) {
      if (entry.kind != objects::TreeEntry::Kind::directory) continue;
      out.push_back(in_folder(path) + "/");
      if (out.size() > kMostWatchedFolders) return {path_, path_ + "/"};
    }
    return out;
  }
  // It claims nothing: other resources may decide on what is inside.
  [[nodiscard]] std::vector<std::string> provides() const override { return {path_}; }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_artifact(JsonReader& reader,
                                                                          const fs::path& root);

  // A file is a tree of one entry in the folder that holds it.
  [[nodiscard]] Result<objects::Tree> read(const Context& context) const {
    if (context.artifacts == nullptr)
      return fail(ErrorCode::unsupported, "only deployed services have artifacts");
    if (is_tree_) return objects::get_tree(*context.artifacts, digest_);
    objects::TreeEntry entry;
    entry.digest = digest_;
    entry.mode = 0755;
    return objects::Tree{{base_of(path_), entry}};
  }
  [[nodiscard]] std::string folder() const { return is_tree_ ? path_ : parent_of(path_); }
  [[nodiscard]] fs::path host_folder(const Context& context) const {
    return context.files.host_path(folder());
  }
  [[nodiscard]] std::string in_folder(const std::string& path) const {
    return folder() + "/" + path;
  }

  [[nodiscard]] Result<objects::TreeDifferences> compare(const Context& context,
                                                         const objects::Tree& tree) const {
    return objects::tree_differences(tree, host_folder(context), [&](const std::string& path) {
      return context.claimed != nullptr && is_claimed(*context.claimed, in_folder(path));
    });
  }

  // By a resource on it, or on a folder inside the artifact (or the artifact itself) above it.
  [[nodiscard]] bool is_claimed(const PathSet& claimed, const std::string& place) const {
    for (std::string at = place; at.size() >= path_.size(); at = parent_of(at)) {
      if (claimed.contains(at)) return true;
    }
    return false;
  }

  std::string path_;
  bool is_tree_ = false;
  Digest digest_;
};

}  // namespace

Result<std::unique_ptr<Resource>> parse_artifact(JsonReader& reader, const fs::path& root) {
  auto out = std::make_unique<ArtifactResource>();
  out->path_ = read_path(reader, "path", root);
  out->is_tree_ = read_choice(reader, "kind", {"file", "tree"}) == 1;
  if (const auto digest = Digest::parse(reader.string("digest"))) {
    out->digest_ = *digest;
  } else {
    reader.note(fail(Error(digest.error()).context(reader.path_of("digest"))));
  }
  return out;
}

}  // namespace consort::agent
