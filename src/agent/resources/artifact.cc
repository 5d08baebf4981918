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
    // Before they are read: what changes meanwhile has another one. Not of directories: what a
    // program leaves beside its files changes theirs, and nothing here.
    std::vector<Evidence> evidence;
    for (const auto& [path, entry] : tree) {
      if (entry.kind == objects::TreeEntry::Kind::directory) continue;
      const std::string place = in_folder(path);
      evidence.push_back({place, context.files.stamp(place)});
    }
    const objects::TreeDifferences differences = TRY(compare(context, tree));
    Verdict verdict;
    for (const auto& [path, how] : differences) {
      if (verdict.changes.size() == kShownChanges) break;
      verdict.add(path, how, "as deployed");
    }
    if (differences.size() > kShownChanges)
      verdict.reason = fmt::format("{} entries in all", differences.size());
    if (differences.empty()) verdict.evidence = std::move(evidence);
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& /*verdict*/) const override {
    const objects::Tree tree = TRY(read(context));
    const objects::TreeDifferences differences = TRY(compare(context, tree));
    Applied out;
    if (context.dry_run()) return out;
    for (const auto& [path, how] : differences) {
      if (how == "changed" && tree.at(path).kind == objects::TreeEntry::Kind::file)
        out.backup = TRY(context.back_up(in_folder(path)));
    }
    // Not through context.files: a way back has no business here, the store knows what belongs.
    TRYV(objects::mend_tree(*context.artifacts, tree, host_folder(context), differences,
                            [&](const std::string& path) -> Status {
                              const std::string place = path.empty() ? folder() : in_folder(path);
                              out.notes.push_back("what was in the way is now " +
                                                  TRY(context.files.set_aside(place)));
                              return {};
                            }));
    return out;
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
  // It claims and provides nothing: other resources may decide on what is inside, and wait for
  // nobody.

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_artifact(JsonReader& reader,
                                                                          const fs::path& root);

  // A file is a tree of one entry in the folder that holds it.
  [[nodiscard]] Result<objects::Tree> read(const Context& context) const {
    if (context.artifacts == nullptr)
      return fail(ErrorCode::unsupported, "only deployed services have artifacts");
    if (is_tree_) return objects::get_tree(*context.artifacts, digest_);
    return objects::tree_of_program(base_of(path_), digest_);
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
      return context.claimed != nullptr && context.owned != nullptr &&
             belongs_to_others(*context.claimed, *context.owned, path_, in_folder(path));
    });
  }

  std::string path_;
  bool is_tree_ = false;
  Digest digest_;
};

}  // namespace

bool belongs_to_others(const PathSet& claimed, const PathSet& owned, const std::string& artifact,
                       const std::string& place) {
  if (claimed.contains(place)) return true;
  for (std::string at = place; at.size() >= artifact.size(); at = parent_of(at)) {
    if (owned.contains(at)) return true;
  }
  return false;
}

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
