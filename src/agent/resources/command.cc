#include "agent/resources/command.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/originals.h"
#include "agent/overlay_files.h"
#include "base/text.h"

namespace consort::agent {
namespace {

constexpr std::size_t kMaxInputs = 100'000;

// The words of a command line that may be paths: whole words and what follows '=', ':' or ','.
void add_path_words(const std::vector<std::string>& argv, const fs::path& root,
                    std::vector<std::string>& out) {
  for (const std::string& word : argv) {
    std::size_t begin = 0;
    while (begin <= word.size()) {
      const std::size_t end = std::min(word.find_first_of("=:, \n\t'\"", begin), word.size());
      if (begin < word.size() && word[begin] == '/') {
        if (auto path = normal_path(std::string_view(word).substr(begin, end - begin), root);
            path && *path != "/")
          out.push_back(*path);
      }
      begin = end + 1;
    }
  }
}

class CommandResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    if (!creates_.empty()) {
      const Entry entry = TRY(context.files.look(creates_));
      if (entry.kind != EntryKind::absent) {
        verdict.evidence.push_back({creates_, entry.stamp});
        return verdict;
      }
      verdict.reason = creates_ + " does not exist";
    }
    if (!unless_.empty() && TRY(guard_holds(context, unless_))) return verdict;
    if (!only_if_.empty() && !TRY(guard_holds(context, only_if_))) return verdict;
    if (!inputs_.empty() || !outputs_.empty()) return examine_make(context);
    const bool guarded = !creates_.empty() || !unless_.empty() || !only_if_.empty();
    if (!guarded && recorded(context).string_or("wish") == wish().str()) return verdict;
    verdict.add("command", "", quoted());
    if (verdict.reason.empty())
      verdict.reason = guarded ? "its guard says so" : "it has not run yet";
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& /*verdict*/) const override {
    Applied out;
    out.commands.push_back(common().sensitive ? "(sensitive)" : quoted());
    if (context.dry_run()) {
      if (!creates_.empty()) context.overlay->will_be_made(creates_);
      for (const std::string& path : outputs_) context.overlay->will_be_made(path);
      return out;
    }
    const ProcessOutcome outcome = TRY(run(context, argv_));
    TRYV(judge(outcome, out));
    if (!creates_.empty() && TRY(context.files.look(creates_)).kind == EntryKind::absent) {
      return fail(ErrorCode::not_found,
                  fmt::format("{} ended well, but did not create {}", argv_[0], creates_));
    }
    std::vector<Evidence> evidence;
    Json record = Json::object({{"wish", wish().str()}});
    if (!inputs_.empty() || !outputs_.empty()) {
      const auto inputs = TRY(digest_inputs(context, evidence));
      if (inputs.digest) record["inputs"] = inputs.digest->str();
      for (const std::string& path : outputs_) {
        const auto digest = TRY(output_digest(context, path));
        if (!digest)
          return fail(ErrorCode::not_found,
                      fmt::format("{} ended well, but did not make {}", argv_[0], path));
        record["outputs"][path] = *digest;
      }
    }
    TRYV(make_folders(record_path(context).parent_path(), 0700));
    // After a way back it has not run.
    if (context.originals != nullptr) TRYV(context.originals->keep_record(record_path(context)));
    TRYV(write_file_atomic(record_path(context), record.dump() + "\n", 0600));
    return out;
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& /*context*/) const override {
    std::vector<std::string> out = outputs_;
    for (const std::string& input : inputs_)
      out.push_back(input.find_first_of("*?[") == std::string::npos ? input
                                                                    : parent_of(input) + "/");
    if (!creates_.empty()) out.push_back(creates_);
    return out;
  }
  [[nodiscard]] std::vector<std::string> provides() const override {
    std::vector<std::string> out = outputs_;
    if (!creates_.empty()) out.push_back(creates_);
    return out;
  }
  [[nodiscard]] std::vector<std::string> uses() const override {
    std::vector<std::string> out = inputs_;
    for (const auto* words : {&argv_, &unless_, &only_if_}) add_path_words(*words, root_, out);
    // What it makes itself may be named on its command line too; it does not wait for that.
    std::erase_if(out, [&](const std::string& path) {
      return path == creates_ ||
             std::find(outputs_.begin(), outputs_.end(), path) != outputs_.end();
    });
    if (!folder_.empty()) out.push_back(folder_);
    if (!user_.empty()) out.push_back("user:" + user_);
    if (!group_.empty()) out.push_back("group:" + group_);
    for (const std::string& path : provides()) out.push_back(parent_of(path));
    return out;
  }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_command(JsonReader& reader,
                                                                         const fs::path& root);

  struct Inputs {
    std::optional<Digest> digest;
    std::string missing;  // the first that is not there
  };

  [[nodiscard]] std::string quoted() const { return shell_ ? argv_[0] : quote_argv(argv_); }
  [[nodiscard]] fs::path record_path(const Context& context) const {
    return context.state_folder / "commands" / (Digest::of(name()).hex().substr(0, 32) + ".json");
  }
  [[nodiscard]] Json recorded(const Context& context) const {
    const auto text = read_file(record_path(context), 1U << 20U);
    // A damaged record only means that the command runs once more.
    return text ? parse_json(*text).value_or(Json::object()) : Json::object();
  }

  [[nodiscard]] Result<Verdict> examine_make(const Context& context) const {
    Verdict verdict;
    const Inputs inputs = TRY(digest_inputs(context, verdict.evidence));
    if (!inputs.digest) {
      verdict.state = Verdict::State::waiting;
      verdict.reason = fmt::format("waiting for the input {}", inputs.missing);
      return verdict;
    }
    const Json record = recorded(context);
    const Json* known = record.find("outputs");
    for (const std::string& path : outputs_) {
      const auto digest = TRY(output_digest(context, path));
      verdict.evidence.push_back({path, context.files.stamp(path)});
      if (!digest) {
        verdict.reason = fmt::format("the output {} is missing", path);
      } else if (known != nullptr && known->string_or(path) != *digest) {
        verdict.reason = fmt::format("the output {} was changed", path);
      }
    }
    if (verdict.reason.empty() && record.string_or("wish") != wish().str())
      verdict.reason = "it has not run in this form yet";
    if (verdict.reason.empty() && record.string_or("inputs") != inputs.digest->str())
      verdict.reason = "an input has other content";
    if (!verdict.reason.empty()) verdict.add("command", "", quoted());
    return verdict;
  }

  [[nodiscard]] Result<std::vector<std::string>> expand_glob(const Context& context,
                                                             const std::string& pattern) const {
    std::vector<std::string> out;
    const std::string folder = parent_of(pattern);
    if (TRY(context.files.look(folder)).kind != EntryKind::directory) return out;
    for (const std::string& name : TRY(context.files.list(folder))) {
      if (glob_match(base_of(pattern), name))
        out.push_back(folder == "/" ? "/" + name : folder + "/" + name);
    }
    return out;
  }

  Result<bool> add_input(const Context& context, const std::string& path, Hasher& hasher,
                         std::vector<Evidence>& evidence) const {
    const Entry entry = TRY(context.files.look(path));
    evidence.push_back({path, entry.stamp});
    if (evidence.size() > kMaxInputs)
      return fail(ErrorCode::too_large, fmt::format("more than {} inputs", kMaxInputs));
    if (entry.kind == EntryKind::absent) return false;
    hasher.update(fmt::format("{} {}\n", entry_kind_name(entry.kind), path));
    if (entry.kind == EntryKind::symlink) hasher.update(entry.target);
    if (entry.kind == EntryKind::file) hasher.update(TRY(context.files.digest(path)).hex());
    if (entry.kind == EntryKind::directory) {
      for (const std::string& name : TRY(context.files.list(path)))
        TRY(add_input(context, path + "/" + name, hasher, evidence));
    }
    return true;
  }

  [[nodiscard]] Result<Inputs> digest_inputs(const Context& context,
                                             std::vector<Evidence>& evidence) const {
    Hasher hasher;
    for (const std::string& input : inputs_) {
      std::vector<std::string> paths = {input};
      if (input.find_first_of("*?[") != std::string::npos) {
        paths = TRY(expand_glob(context, input));
        evidence.push_back({parent_of(input), context.files.stamp(parent_of(input))});
      }
      if (paths.empty()) return Inputs{std::nullopt, input};
      for (const std::string& path : paths) {
        if (!TRY(add_input(context, path, hasher, evidence))) return Inputs{std::nullopt, path};
      }
    }
    return Inputs{hasher.finish(), ""};
  }

  // "directory" for a directory, whose content is nobody's promise; nullopt when absent.
  [[nodiscard]] static Result<std::optional<std::string>> output_digest(const Context& context,
                                                                        const std::string& path) {
    const Entry entry = TRY(context.files.look(path));
    if (entry.kind == EntryKind::absent) return std::optional<std::string>();
    if (entry.kind != EntryKind::file)
      return std::optional(std::string(entry_kind_name(entry.kind)));
    return std::optional(TRY(context.files.digest(path)).str());
  }

  [[nodiscard]] Result<bool> guard_holds(const Context& context,
                                         const std::vector<std::string>& argv) const {
    auto outcome = run(context, argv);
    if (!outcome && context.dry_run()) return false;  // its program comes with this very change
    if (!outcome)
      return tl::unexpected<Error>(
          std::move(outcome.error()).context(fmt::format("asking the guard {}", quote_argv(argv))));
    if (outcome->timed_out)
      return fail(ErrorCode::timeout,
                  fmt::format("the guard {} did not end in time", quote_argv(argv)));
    return outcome->ok();
  }

  [[nodiscard]] Result<ProcessOutcome> run(const Context& context,
                                           const std::vector<std::string>& argv) const {
    ProcessSpec spec;
    spec.argv =
        shell_ && &argv == &argv_ ? std::vector<std::string>{"/bin/sh", "-c", argv[0]} : argv;
    spec.environment = environment_;
    spec.environment["CONSORT_ROOT"] = context.root.string();
    if (!folder_.empty()) spec.folder = context.files.host_path(folder_);
    if (!user_.empty()) {
      RunAs as = TRY(context.accounts.run_as(user_, group_));
      spec.uid = as.uid;
      spec.gid = as.gid;
      spec.groups = std::move(as.groups);
    } else if (!group_.empty()) {
      spec.gid = TRY(context.accounts.gid_of(group_));
    }
    spec.timeout = common().timeout.value_or(minutes(5));
    return context.runner.run(spec);
  }

  Status judge(const ProcessOutcome& outcome, Applied& out) const {
    const auto lists = [&](const std::vector<int>& codes) {
      return std::find(codes.begin(), codes.end(), outcome.status) != codes.end();
    };
    if (outcome.timed_out) {
      return fail(ErrorCode::timeout,
                  fmt::format("{} did not end within {}; its process group was killed", argv_[0],
                              human_duration(common().timeout.value_or(minutes(5)))))
          .hint("raise timeout, or look why it hangs");
    }
    if (lists(kept_exit_)) {
      out.changed = false;
      return {};
    }
    if (lists(repaired_exit_) || (repaired_exit_.empty() && outcome.status == 0)) return {};
    const std::string output =
        common().sensitive ? ""
                           : std::string(trim(last_lines(
                                 outcome.errors.empty() ? outcome.output : outcome.errors, 10)));
    return fail(ErrorCode::io, fmt::format("{} ended with status {}{}{}", argv_[0], outcome.status,
                                           output.empty() ? "" : ": ", output));
  }

  fs::path root_;
  std::vector<std::string> argv_;
  bool shell_ = false;
  std::string creates_;
  std::vector<std::string> unless_;
  std::vector<std::string> only_if_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
  std::map<std::string, std::string> environment_;
  std::string folder_;
  std::string user_;
  std::string group_;
  std::vector<int> kept_exit_;
  std::vector<int> repaired_exit_;
};

std::vector<std::string> read_paths(JsonReader& reader, std::string_view key,
                                    const fs::path& root) {
  std::vector<std::string> out;
  for (const std::string& text : reader.strings(key)) {
    auto path = normal_path(text, root);
    if (path) {
      out.push_back(*path);
    } else {
      reader.note(std::move(path.error()).context(fmt::format("reading {}", reader.path_of(key))));
    }
  }
  return out;
}

std::vector<int> read_exits(JsonReader& reader, std::string_view key) {
  std::vector<int> out;
  for (const Json& item : reader.array(key)) {
    if (item.is_int() && item.as_int() >= 0 && item.as_int() <= 255) {
      out.push_back(static_cast<int>(item.as_int()));
    } else {
      reader.note(
          fail(ErrorCode::invalid_input,
               fmt::format("{}: exit statuses are integers from 0 to 255", reader.path_of(key))));
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Resource>> parse_command(JsonReader& reader, const fs::path& root) {
  auto out = std::make_unique<CommandResource>();
  out->root_ = root;
  out->argv_ = reader.strings("argv");
  out->shell_ = reader.boolean("shell", false);
  if (out->argv_.empty() || out->argv_[0].empty()) {
    reader.note(fail(ErrorCode::invalid_input,
                     fmt::format("{}: a command needs the program to run", reader.path_of("argv")))
                    .hint("argv: ['/usr/bin/program', 'argument']"));
    out->argv_ = {""};
  }
  if (out->shell_ && out->argv_.size() != 1) {
    reader.note(
        fail(ErrorCode::invalid_input,
             fmt::format("{}: with shell: true, argv is one string", reader.path_of("argv"))));
  }
  out->creates_ = read_optional_path(reader, "creates", root);
  out->unless_ = reader.strings("unless");
  out->only_if_ = reader.strings("onlyIf");
  out->inputs_ = read_paths(reader, "inputs", root);
  out->outputs_ = read_paths(reader, "outputs", root);
  out->environment_ = read_environment(reader);
  out->folder_ = read_optional_path(reader, "folder", root);
  out->user_ = reader.string("user", "");
  out->group_ = reader.string("group", "");
  out->kept_exit_ = read_exits(reader, "keptExit");
  out->repaired_exit_ = read_exits(reader, "repairedExit");
  return out;
}

}  // namespace consort::agent
