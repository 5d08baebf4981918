#include "agent/resources/directory.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "agent/overlay_files.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::size_t kShownChanges = 20;
constexpr std::size_t kMaxEntries = 200'000;

struct Step {
  enum class Kind : std::uint8_t {
    make_directory,
    write_file,
    make_link,
    set_metadata,
    set_aside,
    remove
  };
  Kind kind;
  std::string path;
  Metadata meta;
  fs::path source;     // of write_file
  std::string target;  // of make_link
};

std::string_view step_name(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::make_directory:
      return "directory";
    case Step::Kind::write_file:
      return "content";
    case Step::Kind::make_link:
      return "symlink";
    case Step::Kind::set_metadata:
      return "metadata";
    case Step::Kind::set_aside:
      return "moved aside";
    case Step::Kind::remove:
      return "removed";
  }
  return "?";
}

std::string join_path(const std::string& folder, const std::string& name) {
  return folder == "/" ? "/" + name : folder + "/" + name;
}

class DirectoryResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    const Entry entry = TRY(context.files.look(path_));
    if (entry.kind != EntryKind::absent && entry.kind != EntryKind::directory) {
      return fail(ErrorCode::conflict, fmt::format("{} is in the way: it is a {}, not a directory",
                                                   path_, entry_kind_name(entry.kind)))
          .hint("remove it, or move it aside by hand");
    }
    if (absent_) return examine_absence(context, entry);
    std::vector<Evidence> evidence;
    const std::vector<Step> steps = TRY(plan(context, entry, evidence));
    if (entry.kind == EntryKind::absent) {
      verdict.add("directory", "absent", "present");
    } else {
      compare_metadata(TRY(ownership_.resolve(context.accounts)), entry, verdict);
    }
    for (const Step& step : steps) {
      if (step.path == path_) continue;
      if (verdict.changes.size() < kShownChanges)
        verdict.add(std::string(step_name(step.kind)), "", step.path);
      verdict.state = Verdict::State::wrong;
    }
    if (steps.size() > kShownChanges)
      verdict.reason = fmt::format("{} changes in all", steps.size());
    if (verdict.state == Verdict::State::right) verdict.evidence = std::move(evidence);
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& /*verdict*/) const override {
    Applied out;
    const Entry entry = TRY(context.files.look(path_));
    if (absent_) {
      std::vector<std::string> extras = TRY(removals(context));
      if (entry.kind != EntryKind::absent) extras.push_back(path_);
      TRYV(context.keep_removed(extras));
      for (const std::string& extra : extras) TRYV(context.files.remove(extra));
      return out;
    }
    if (entry.kind == EntryKind::absent) TRYV(make_parents(context));
    std::vector<Evidence> evidence;
    const std::vector<Step> steps = TRY(plan(context, entry, evidence));
    std::vector<std::string> going;
    std::vector<std::string> changing;
    std::vector<std::string> changing_metadata;
    for (const Step& step : steps) {
      (step.kind == Step::Kind::remove         ? going
       : step.kind == Step::Kind::set_metadata ? changing_metadata
                                               : changing)
          .push_back(step.path);
    }
    TRYV(context.remember(changing, changing_metadata));
    TRYV(context.keep_removed(going));
    for (const Step& step : steps) TRYV(perform(context, step, out));
    return out;
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& context) const override {
    std::vector<std::string> out = {path_};
    if (!tree_.empty() || recurse_ || purge_) list_folders(context, path_, out);
    return out;
  }
  [[nodiscard]] std::vector<std::string> claims() const override { return {path_}; }
  [[nodiscard]] std::vector<std::string> uses() const override {
    std::vector<std::string> out;
    ownership_.add_uses(out);
    return out;
  }
  [[nodiscard]] bool wants_absence() const override { return absent_; }
  [[nodiscard]] bool decides_below() const override { return recurse_ || purge_ || !tree_.empty(); }
  [[nodiscard]] Result<Json> capture(const Context& context) const override {
    return capture_path(context, path_);
  }
  [[nodiscard]] Result<std::optional<Digest>> configuration() const override {
    return tree_.empty() ? std::optional<Digest>() : std::optional(wish());
  }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_directory(JsonReader& reader,
                                                                           const fs::path& root);

  // Where the agent, or `apply`, keeps its own state: that folder, and those that lead to it.
  [[nodiscard]] static bool is_state(const Context& context, const std::string& path) {
    const std::string state = context.state_folder.string();
    const std::string below_root = context.root == "/" ? path : context.root.string() + path;
    const auto leads = [&](const std::string& folder) {
      return state == folder || state.starts_with(folder + "/");
    };
    return !state.empty() && (leads(path) || leads(below_root));
  }

  // What a purge or a removal must leave alone: the excluded and what other resources decide on.
  [[nodiscard]] bool is_protected(const Context& context, const std::string& path) const {
    const std::string relative = path.substr(path_.size() + 1);
    const std::string base = base_of(path);
    for (const std::string& glob : exclude_) {
      if (glob_match(glob, relative) || glob_match(glob, base)) return true;
    }
    if (is_state(context, path)) return true;
    // The new content of a file that is being written just now.
    if (base.starts_with('.') && base.ends_with(".consort-new")) return true;
    return (context.claimed != nullptr && touches(*context.claimed, path)) ||
           (context.claims != nullptr && context.claims->touch(path));
  }

  // Everything below `folder` that may go, children before parents. Mount points are never entered.
  Status collect(const Context& context, const std::string& folder, std::uint64_t device,
                 const std::map<std::string, struct stat>& wanted,
                 std::vector<std::string>& out) const {
    for (const std::string& name : TRY(context.files.list(folder))) {
      const std::string path = join_path(folder, name);
      const Entry entry = TRY(context.files.look(path));
      if (entry.kind == EntryKind::absent || is_protected(context, path)) continue;
      if (entry.kind == EntryKind::directory) {
        if (entry.stamp.device != device) continue;
        TRYV(collect(context, path, device, wanted, out));
      }
      if (!wanted.contains(path.substr(path_.size() + 1))) out.push_back(path);
    }
    return {};
  }

  [[nodiscard]] Result<std::vector<std::string>> removals(
      const Context& context, const std::map<std::string, struct stat>& wanted = {}) const {
    std::vector<std::string> out;
    const Entry base = TRY(context.files.look(path_));
    if (!purge_ || base.kind != EntryKind::directory) return out;
    TRYV(collect(context, path_, base.stamp.device, wanted, out));
    if (out.size() > max_purge_) {
      return fail(ErrorCode::refused,
                  fmt::format(
                      "a purge of {} would remove {} entries; the guard allows {} (first: {})",
                      path_, out.size(), max_purge_, out[0]))
          .hint("raise maxPurge, or exclude what shall stay");
    }
    return out;
  }

  [[nodiscard]] Result<Verdict> examine_absence(const Context& context, const Entry& entry) const {
    Verdict verdict;
    if (entry.kind == EntryKind::absent) {
      verdict.evidence.push_back({path_, entry.stamp});
      return verdict;
    }
    const auto gone = TRY(removals(context));
    if (!purge_ && !TRY(context.files.list(path_)).empty()) {
      return fail(ErrorCode::refused, fmt::format("{} is not empty", path_))
          .hint("say purge: true to remove what is in it (maxPurge limits how much)");
    }
    verdict.add("directory", "present", "absent");
    for (const std::string& path : gone) {
      if (verdict.changes.size() < kShownChanges) verdict.add("removed", "", path);
    }
    return verdict;
  }

  // The tree's content, relative path → stat. Links are not followed.
  [[nodiscard]] Result<std::map<std::string, struct stat>> read_tree() const {
    std::map<std::string, struct stat> out;
    if (tree_.empty()) return out;
    std::error_code ec;
    fs::recursive_directory_iterator it(tree_, ec);
    if (ec) return fail_errno(ec.value(), fmt::format("cannot read the tree {}", tree_.string()));
    for (; it != fs::recursive_directory_iterator(); it.increment(ec)) {
      struct stat info {};
      if (::lstat(it->path().c_str(), &info) != 0)
        return fail_errno(errno, fmt::format("cannot look at {}", it->path().string()));
      out.emplace(it->path().lexically_relative(tree_).string(), info);
      if (out.size() > kMaxEntries)
        return fail(ErrorCode::too_large, fmt::format("the tree {} has more than {} entries",
                                                      tree_.string(), kMaxEntries));
    }
    if (ec) return fail_errno(ec.value(), fmt::format("cannot read the tree {}", tree_.string()));
    return out;
  }

  // With recurse, the owner holds for all; the mode too, but a file gets execute bits only if it
  // has some.
  [[nodiscard]] Metadata metadata_below(const Metadata& own, mode_t natural, bool directory) const {
    Metadata out;
    if (!recurse_) return out;
    out = own;
    if (out.mode && !directory && (natural & 0111U) == 0)
      out.mode = *out.mode & ~static_cast<mode_t>(0111U);
    return out;
  }

  Status plan_entry(const Context& context, const std::string& relative, const struct stat& info,
                    const Metadata& own, std::vector<Step>& steps,
                    std::vector<Evidence>& evidence) const {
    const std::string path = join_path(path_, relative);
    const Entry entry = TRY(context.files.look(path));
    // Another resource decides on this path; only a folder that the tree's files need is made for
    // it.
    const bool claimed = (context.claimed != nullptr && context.claimed->contains(path)) ||
                         (context.claims != nullptr && context.claims->contain(path));
    if (claimed && (!S_ISDIR(info.st_mode) || entry.kind != EntryKind::absent)) return {};
    Metadata meta = metadata_below(own, info.st_mode, S_ISDIR(info.st_mode));
    if (S_ISLNK(info.st_mode)) {
      std::error_code ec;
      const std::string target = fs::read_symlink(tree_ / relative, ec).string();
      if (entry.kind != EntryKind::symlink || entry.target != target) {
        if (entry.kind == EntryKind::directory)
          steps.push_back({Step::Kind::set_aside, path, {}, {}, {}});
        steps.push_back({Step::Kind::make_link, path, {}, {}, target});
      }
    } else if (S_ISDIR(info.st_mode)) {
      if (!meta.mode) meta.mode = info.st_mode & 07777U;
      if (entry.kind != EntryKind::directory) {
        if (entry.kind != EntryKind::absent)
          steps.push_back({Step::Kind::set_aside, path, {}, {}, {}});
        steps.push_back({Step::Kind::make_directory, path, meta, {}, {}});
      } else {
        add_metadata_step(entry, path, meta, steps);
      }
    } else if (S_ISREG(info.st_mode)) {
      if (!meta.mode) meta.mode = info.st_mode & 07777U;
      if (entry.kind == EntryKind::directory)
        steps.push_back({Step::Kind::set_aside, path, {}, {}, {}});
      if (entry.kind != EntryKind::file ||
          !TRY(same_content(context, path, entry, relative, info))) {
        steps.push_back({Step::Kind::write_file, path, meta, tree_ / relative, {}});
      } else {
        add_metadata_step(entry, path, meta, steps);
      }
    } else {
      return fail(ErrorCode::invalid_input,
                  fmt::format("{} in the tree is neither file, directory nor symlink", relative));
    }
    evidence.push_back({path, entry.stamp});
    return {};
  }

  static void add_metadata_step(const Entry& entry, const std::string& path, const Metadata& meta,
                                std::vector<Step>& steps) {
    Verdict differences;
    compare_metadata(meta, entry, differences);
    if (!differences.changes.empty())
      steps.push_back({Step::Kind::set_metadata, path, meta, {}, {}});
  }

  [[nodiscard]] Result<bool> same_content(const Context& context, const std::string& path,
                                          const Entry& entry, const std::string& relative,
                                          const struct stat& info) const {
    if (entry.stamp.size != static_cast<std::uint64_t>(info.st_size)) return false;
    Content source;
    source.source = tree_ / relative;
    return TRY(context.files.digest(path)) == TRY(source.digest());
  }

  // All that differs, in the order in which it is to be done.
  [[nodiscard]] Result<std::vector<Step>> plan(const Context& context, const Entry& entry,
                                               std::vector<Evidence>& evidence) const {
    std::vector<Step> steps;
    const Metadata own = TRY(ownership_.resolve(context.accounts));
    if (entry.kind == EntryKind::absent) {
      steps.push_back({Step::Kind::make_directory, path_, own, {}, {}});
    } else {
      add_metadata_step(entry, path_, own, steps);
    }
    evidence.push_back({path_, entry.stamp});
    const auto tree = TRY(read_tree());
    for (const auto& [relative, info] : tree)
      TRYV(plan_entry(context, relative, info, own, steps, evidence));
    if (entry.kind == EntryKind::absent) return steps;
    for (std::string& path : TRY(removals(context, tree)))
      steps.push_back({Step::Kind::remove, std::move(path), {}, {}, {}});
    if (!recurse_) return steps;
    std::set<std::string> going;
    for (const Step& step : steps) {
      if (step.kind == Step::Kind::remove || step.kind == Step::Kind::set_aside)
        going.insert(step.path);
    }
    TRYV(plan_others(context, path_, entry.stamp.device, own, tree, going, steps, evidence));
    return steps;
  }

  // recurse covers what is there besides the tree, too, and stays there.
  Status plan_others(const Context& context, const std::string& folder, std::uint64_t device,
                     const Metadata& own, const std::map<std::string, struct stat>& tree,
                     const std::set<std::string>& going, std::vector<Step>& steps,
                     std::vector<Evidence>& evidence) const {
    for (const std::string& name : TRY(context.files.list(folder))) {
      const std::string path = join_path(folder, name);
      if (going.contains(path)) continue;
      const Entry entry = TRY(context.files.look(path));
      const bool directory = entry.kind == EntryKind::directory;
      if ((!directory && entry.kind != EntryKind::file) || entry.stamp.device != device) continue;
      if (!tree.contains(path.substr(path_.size() + 1)) && !is_protected(context, path)) {
        add_metadata_step(entry, path, metadata_below(own, entry.mode(), directory), steps);
        evidence.push_back({path, entry.stamp});
      }
      if (directory) TRYV(plan_others(context, path, device, own, tree, going, steps, evidence));
    }
    return {};
  }

  Status make_parents(const Context& context) const {
    std::vector<std::string> missing;
    for (std::string at = parent_of(path_); at != "/"; at = parent_of(at)) {
      const Entry entry = TRY(context.files.look(at));
      if (entry.kind == EntryKind::directory) break;
      if (entry.kind != EntryKind::absent)
        return fail(ErrorCode::conflict,
                    fmt::format("{} is in the way: it is not a directory", at));
      missing.push_back(at);
    }
    if (!missing.empty() && !parents_) {
      return fail(ErrorCode::not_found, fmt::format("the parent {} does not exist", missing[0]))
          .hint("say parents: true, or declare it");
    }
    for (auto it = missing.rbegin(); it != missing.rend(); ++it)
      TRYV(context.files.make_directory(*it, {}));
    return {};
  }

  static Status perform(const Context& context, const Step& step, Applied& out) {
    switch (step.kind) {
      case Step::Kind::make_directory:
        return context.files.make_directory(step.path, step.meta);
      case Step::Kind::set_metadata:
        return context.files.set_metadata(step.path, step.meta);
      case Step::Kind::make_link:
        return context.files.make_symlink(step.path, step.target);
      case Step::Kind::set_aside:
        out.notes.push_back("what was in the way is now " +
                            TRY(context.files.set_aside(step.path)));
        return {};
      case Step::Kind::remove:
        return context.files.remove(step.path);
      case Step::Kind::write_file: {
        TRY(context.back_up(step.path));
        Content content;
        content.source = step.source;
        TRY(context.files.write(step.path, content, step.meta, nullptr));
        return {};
      }
    }
    return {};
  }

  static void list_folders(const Context& context, const std::string& folder,
                           std::vector<std::string>& out) {
    const auto names = context.files.list(folder);
    if (!names || out.size() > kMaxEntries) return;
    // A name inside it that cannot exist asks for the directory itself to be watched.
    out.push_back(folder + "/");
    for (const std::string& name : *names) {
      const auto entry = context.files.look(join_path(folder, name));
      if (entry && entry->kind == EntryKind::directory)
        list_folders(context, join_path(folder, name), out);
    }
  }

  std::string path_;
  Ownership ownership_;
  fs::path tree_;
  std::vector<std::string> exclude_;
  std::size_t max_purge_ = 100;
  bool absent_ = false;
  bool parents_ = true;
  bool recurse_ = false;
  bool purge_ = false;
};

}  // namespace

Result<std::unique_ptr<Resource>> parse_directory(JsonReader& reader, const fs::path& root) {
  auto out = std::make_unique<DirectoryResource>();
  out->path_ = read_path(reader, "path", root);
  out->absent_ = read_choice(reader, "ensure", {"present", "absent"}) == 1;
  out->ownership_ = Ownership::read(reader);
  out->parents_ = reader.boolean("parents", true);
  out->tree_ = read_optional_path(reader, "tree", "/");
  out->recurse_ = reader.boolean("recurse", false);
  out->purge_ = reader.boolean("purge", false);
  out->exclude_ = reader.strings("exclude");
  out->max_purge_ = static_cast<std::size_t>(reader.integer("maxPurge", 100, 0, 10'000'000));
  return out;
}

}  // namespace consort::agent
