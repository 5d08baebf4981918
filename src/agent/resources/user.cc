#include "agent/resources/user.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/resources/account_tools.h"
#include "base/text.h"

namespace consort::agent {
namespace {

class UserResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    const auto account = context.accounts.user(name_);
    if (absent_) {
      if (account) verdict.add("user", "present", "absent");
    } else if (!account) {
      verdict.add("user", "absent", "present");
    } else {
      if (uid_ && *uid_ != account->uid)
        verdict.add("uid", std::to_string(account->uid), std::to_string(*uid_));
      if (!group_.empty()) {
        const auto wanted = context.accounts.gid_of(group_);
        if (!wanted || *wanted != account->gid)
          verdict.add("group", std::to_string(account->gid), group_);
      }
      compare("home", account->home, home_, verdict);
      compare("shell", account->shell, shell_, verdict);
      compare("comment", account->comment, comment_, verdict);
      const auto memberships = context.accounts.memberships(name_);
      if (groups_ && memberships != *groups_)
        verdict.add("groups", join(memberships, ","), join(*groups_, ","));
    }
    if (verdict.state == Verdict::State::right) verdict.evidence = account_evidence(context);
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& verdict) const override {
    if (absent_)
      return run_account_tool(context, {"userdel", name_},
                              [&](AccountFiles& files) { files.remove_user(name_); });
    const bool fresh = verdict.changes_what("user");
    std::vector<std::string> argv = {fresh ? "useradd" : "usermod"};
    if (fresh) {
      if (system_) argv.emplace_back("--system");
      argv.emplace_back("--no-create-home");
      // A group of the same name that is there already is the natural one.
      if (group_.empty() && context.accounts.group(name_))
        argv.insert(argv.end(), {"--gid", name_});
    }
    const auto wish = [&](std::string_view what, const char* option, const std::string& value) {
      if (!value.empty() && (fresh || verdict.changes_what(what)))
        argv.insert(argv.end(), {option, value});
    };
    wish("uid", "--uid", uid_ ? std::to_string(*uid_) : "");
    wish("group", "--gid", group_);
    wish("home", fresh ? "--home-dir" : "--home", home_);
    wish("shell", "--shell", shell_);
    wish("comment", "--comment", comment_);
    if (groups_ && (fresh ? !groups_->empty() : verdict.changes_what("groups")))
      argv.insert(argv.end(), {"--groups", join(*groups_, ",")});
    argv.push_back(name_);
    return run_account_tool(context, std::move(argv),
                            [&](AccountFiles& files) { imagine(context, files); });
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& /*context*/) const override {
    return {"/etc/passwd", "/etc/group"};
  }
  [[nodiscard]] std::vector<std::string> claims() const override { return {"user:" + name_}; }
  [[nodiscard]] std::vector<std::string> uses() const override {
    std::vector<std::string> out;
    if (!group_.empty()) out.push_back("group:" + group_);
    if (group_.empty()) out.push_back("group:" + name_);
    for (const std::string& group : groups_.value_or(std::vector<std::string>{}))
      out.push_back("group:" + group);
    return out;
  }
  [[nodiscard]] bool wants_absence() const override { return absent_; }
  [[nodiscard]] Result<Json> capture(const Context& context) const override {
    return Json::object({{"kind", context.accounts.user(name_) ? "present" : "absent"}});
  }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_user(JsonReader& reader,
                                                                      const fs::path& root);

  static void compare(std::string_view what, const std::string& have, const std::string& want,
                      Verdict& verdict) {
    if (!want.empty() && have != want) verdict.add(std::string(what), have, want);
  }

  void imagine(const Context& context, AccountFiles& files) const {
    Account account = context.accounts.user(name_).value_or(
        Account{name_, files.free_id(system_), 0, "", "/home/" + name_, "/bin/sh"});
    if (uid_) account.uid = *uid_;
    if (!group_.empty()) {
      account.gid = context.accounts.gid_of(group_).value_or(account.gid);
    } else if (!context.accounts.user(name_) && !context.accounts.group(name_)) {
      account.gid = account.uid;
      files.add_group(name_, account.gid);
    }
    if (!home_.empty()) account.home = home_;
    if (!shell_.empty()) account.shell = shell_;
    if (!comment_.empty()) account.comment = comment_;
    files.add_user(account);
    if (groups_) files.set_memberships(name_, *groups_);
  }

  std::string name_;
  std::optional<uid_t> uid_;
  std::string group_;
  std::optional<std::vector<std::string>> groups_;  // sorted
  std::string home_;
  std::string shell_;
  std::string comment_;
  bool absent_ = false;
  bool system_ = false;
};

}  // namespace

Result<std::unique_ptr<Resource>> parse_user(JsonReader& reader, const fs::path& /*root*/) {
  auto out = std::make_unique<UserResource>();
  out->name_ = read_account_name(reader, "name");
  out->absent_ = read_choice(reader, "ensure", {"present", "absent"}) == 1;
  out->uid_ = read_id(reader, "uid");
  out->group_ = reader.string("group", "");
  const bool lists_groups = reader.any("groups") != nullptr;
  auto groups = reader.strings("groups");
  std::sort(groups.begin(), groups.end());
  if (lists_groups) out->groups_ = std::move(groups);
  out->home_ = reader.string("home", "");
  out->shell_ = reader.string("shell", "");
  out->system_ = reader.boolean("system", false);
  out->comment_ = reader.string("comment", "");
  for (const std::string* text : {&out->home_, &out->shell_, &out->comment_}) {
    if (text->find_first_of(":\n") != std::string::npos) {
      reader.note(fail(ErrorCode::invalid_input,
                       fmt::format("{}: home, shell and comment hold neither ':' nor a line end",
                                   reader.path_of("comment"))));
    }
  }
  return out;
}

Status revert_user(const Context& context, const Json& record) {
  const Json* before = record.find("before");
  const std::string name = record.string_or("path").substr(std::string_view("user:").size());
  if (before == nullptr || before->string_or("kind") != "absent" || !context.accounts.user(name))
    return {};
  TRY(run_account_tool(context, {"userdel", name},
                       [&](AccountFiles& files) { files.remove_user(name); }));
  return {};
}

}  // namespace consort::agent
