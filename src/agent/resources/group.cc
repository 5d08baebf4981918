#include "agent/resources/group.h"

#include <fmt/format.h>

#include "agent/resources/account_tools.h"
#include "base/text.h"

namespace consort::agent {
namespace {

class GroupResource final : public Resource {
 public:
  [[nodiscard]] Result<Verdict> examine(const Context& context) const override {
    Verdict verdict;
    const auto group = context.accounts.group(name_);
    if (absent_) {
      if (group) verdict.add("group", "present", "absent");
    } else if (!group) {
      verdict.add("group", "absent", "present");
    } else if (gid_ && *gid_ != group->gid) {
      verdict.add("gid", std::to_string(group->gid), std::to_string(*gid_));
    }
    if (verdict.state == Verdict::State::right) verdict.evidence = account_evidence(context);
    return verdict;
  }

  [[nodiscard]] Result<Applied> apply(const Context& context,
                                      const Verdict& verdict) const override {
    std::vector<std::string> argv;
    if (absent_) {
      argv = {"groupdel"};
    } else if (verdict.changes_what("group")) {
      argv = {"groupadd"};
      if (system_) argv.emplace_back("--system");
    } else {
      argv = {"groupmod"};
    }
    if (!absent_ && gid_) argv.insert(argv.end(), {"--gid", std::to_string(*gid_)});
    argv.push_back(name_);
    return run_account_tool(context, std::move(argv), [&](AccountFiles& files) {
      files.remove_group(name_);
      if (!absent_) files.add_group(name_, gid_.value_or(files.free_id(system_)));
    });
  }

  [[nodiscard]] std::vector<std::string> watch(const Context& /*context*/) const override {
    return {"/etc/passwd", "/etc/group"};
  }
  [[nodiscard]] std::vector<std::string> claims() const override { return {"group:" + name_}; }
  [[nodiscard]] bool wants_absence() const override { return absent_; }
  [[nodiscard]] Result<Json> capture(const Context& context) const override {
    return Json::object({{"kind", context.accounts.group(name_) ? "present" : "absent"}});
  }

 private:
  friend Result<std::unique_ptr<Resource>> consort::agent::parse_group(JsonReader& reader,
                                                                       const fs::path& root);
  std::string name_;
  std::optional<gid_t> gid_;
  bool absent_ = false;
  bool system_ = false;
};

}  // namespace

Result<std::unique_ptr<Resource>> parse_group(JsonReader& reader, const fs::path& /*root*/) {
  auto out = std::make_unique<GroupResource>();
  out->name_ = read_account_name(reader, "name");
  out->absent_ = read_choice(reader, "ensure", {"present", "absent"}) == 1;
  out->gid_ = read_id(reader, "gid");
  out->system_ = reader.boolean("system", false);
  return out;
}

Status revert_group(const Context& context, const Json& record) {
  const Json* before = record.find("before");
  const std::string name = record.string_or("path").substr(std::string_view("group:").size());
  if (before == nullptr || before->string_or("kind") != "absent" || !context.accounts.group(name))
    return {};
  TRY(run_account_tool(context, {"groupdel", name},
                       [&](AccountFiles& files) { files.remove_group(name); }));
  return {};
}

}  // namespace consort::agent
