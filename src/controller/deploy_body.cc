#include "controller/deploy_body.h"

#include <fmt/format.h>

#include "base/address_range.h"
#include "base/json_reader.h"
#include "base/text.h"
#include "controller/host_texts.h"

namespace consort::controller {

namespace {

// Checked where it comes in, not in plan::generation_from_json(): what is stored must stay
// readable.
Status check_hosts(const plan::Generation& candidate) {
  TRYV(plan::check_agreement(candidate));
  for (const auto& [name, host] : candidate.hosts) {
    if (!is_name(name))
      return fail(ErrorCode::invalid_input, "generation.hosts: one has no good name")
          .hint("letters, digits, '-', '_' and '.', at most 63");
    if (host.address != name && !is_address_or_name(host.address))
      return fail(ErrorCode::invalid_input,
                  fmt::format("generation.hosts.{}.address: no IP address and no name", name))
          .hint("write it like 10.0.0.7, fd00::7 or web1.example");
    // As they are named where a manifest uses them: what a host reports of itself is cut there.
    std::size_t size = std::string_view("address").size() + host.address.size();
    for (const auto& [key, value] : host.labels)
      size += std::string_view("labels.").size() + key.size() + value.size();
    if (size > kMostHostValues)
      return fail(ErrorCode::invalid_input,
                  fmt::format("generation.hosts.{}.labels: {} bytes; at most {}", name, size,
                              kMostHostValues));
  }
  return {};
}

// It is written with each step of the rollout.
Status check_words(const DeployRequest& request) {
  for (const auto& [name, text] :
       {std::pair("by", &request.by), std::pair("message", &request.message)}) {
    if (text->size() > kMostHostText)
      return fail(ErrorCode::invalid_input,
                  fmt::format("{}: {} bytes; at most {}", name, text->size(), kMostHostText));
  }
  return {};
}

}  // namespace

Result<DeployRequest> deploy_request_from_json(const Json& json) {
  JsonReader reader(json, "");
  DeployRequest out;
  if (const Json* generation = reader.any("generation")) {
    out.candidate = TRY(plan::generation_from_json(*generation));
    TRYV(check_hosts(out.candidate));
  } else {
    reader.note(fail(ErrorCode::invalid_input, "generation is missing"));
  }
  for (std::string& name : reader.strings("only")) out.only.insert(std::move(name));
  for (std::string& name : reader.strings("except")) out.except.insert(std::move(name));
  out.allow_outage = reader.boolean("allowOutage", false);
  out.allow_unsafe_removal = reader.boolean("allowUnsafeRemoval", false);
  out.allow_shrink = reader.boolean("allowShrink", false);
  out.allow_rename = reader.boolean("allowRename", false);
  if (const auto expect = reader.optional_string("expect"))
    out.expect = TRY(Digest::parse(*expect));
  if (const Json* statement = reader.any("statement"))
    out.statement = TRY(plan::signed_statement_from_json(*statement, "statement"));
  out.to_be_signed = reader.boolean("sign", false);
  out.new_chain = reader.boolean("newChain", false);
  out.without_signature = reader.boolean("unsigned", false);
  out.by = reader.string("by", "");
  out.message = reader.string("message", "");
  TRYV(reader.finish(UnknownMembers::ignore));
  TRYV(check_words(out));
  return out;
}

}  // namespace consort::controller
