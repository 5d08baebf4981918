// Tokens, as anybody may send them before anything is known of the sender; and their records.
#include "access/tokens.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto token = access::JoinTokenText::parse(text)) {
    const auto written = token->text();
    fuzz::require(text.find(written.reveal()) != std::string_view::npos,
                  "a join token has one way to be written");
  }
  if (const auto token = access::OperatorTokenText::parse(text)) {
    const auto written = token->text();
    fuzz::require(text.find(written.reveal()) != std::string_view::npos,
                  "an operator's token has one way to be written");
  }
  fuzz::round_trip(text, access::join_token_from_json, access::join_token_to_json);
  fuzz::round_trip(text, access::operator_token_from_json, access::operator_token_to_json);
  return 0;
}
