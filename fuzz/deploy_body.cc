// What a request to plan or to deploy says.
#include "controller/deploy_body.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto json = parse_json(fuzz::text_of(data, size));
  if (!json) return 0;
  const auto request = controller::deploy_request_from_json(*json);
  if (!request) fuzz::require(!request.error().message().empty(), "a refusal says why");
  return 0;
}
