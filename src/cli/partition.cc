#include "cli/partition.h"

#include <fmt/format.h>

#include "crypto/certificates.h"

namespace consort::cli {

Result<std::string> controller_partition(http::Client& client) {
  const auto answer = client.get_json("/v1/ca");
  if (answer) return answer->string_or("partition");
  if (answer.error().code() == ErrorCode::unsupported) return std::string();
  return fail(answer.error());
}

Result<std::optional<std::string>> partition_of(const Context& context) {
  if (!context.certificate_pem.empty()) {
    const auto chain = TRY(crypto::certificates_from_pem(context.certificate_pem));
    if (const auto identity = chain.front().identity()) return std::optional(identity->partition);
  }
  // Only a URL: nobody vouches for what it would answer.
  if (context.authority_pem.empty()) return std::nullopt;
  http::Client client = TRY(client_of(context));
  std::string partition = TRY(controller_partition(client));
  return partition.empty() ? std::nullopt : std::optional(std::move(partition));
}

Status check_partition(const signing::TrustList& list, const std::string& partition) {
  if (partition.empty() || partition == list.partition) return {};
  return fail(ErrorCode::refused,
              fmt::format("the trust list of site {} is for the partition {}, and this controller "
                          "is of {}: what is signed here would be good there",
                          list.site, list.partition, partition))
      .hint(fmt::format("if you meant the other controller: --context NAME; if you meant this one, "
                        "make a list for it: consort key trust --site-name {} --partition {} KEY… "
                        "(with --out FILE, then --trust FILE, yours stays as it is)",
                        list.site, partition));
}

}  // namespace consort::cli
