#include "base/address_range.h"

#include <gmock/gmock.h>

namespace consort {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string canonical(std::string_view text) {
  const auto range = AddressRange::parse(text);
  return range ? range->str() : "error: " + range.error().message();
}

TEST(AddressRange, OneRangeHasOneText) {
  EXPECT_EQ(canonical("10.0.0.7"), "10.0.0.7");
  EXPECT_EQ(canonical("10.0.0.7/32"), "10.0.0.7");
  EXPECT_EQ(canonical("10.0.0.0/8"), "10.0.0.0/8");
  EXPECT_EQ(canonical("0.0.0.0/0"), "0.0.0.0/0");
  EXPECT_EQ(canonical("2001:DB8:0::1"), "2001:db8::1");
  EXPECT_EQ(canonical("fd00::/8"), "fd00::/8");
  EXPECT_EQ(canonical("::ffff:10.0.0.7"), "10.0.0.7");
  EXPECT_EQ(canonical("::ffff:10.0.0.0/104"), "10.0.0.0/8");
}

TEST(AddressRange, WhatIsNoAddressIsRefusedWithARemedy) {
  for (const char* text : {"", "web1", "10.0.0", "10.0.0.256", "10.0.0.0/33", "10.0.0.0/", "::/129",
                           "10.0.0.0/-1", "10.0.0.0/8 }", "10.0.0.0/8\n", "fe80::1%eth0"})
    EXPECT_THAT(canonical(text), HasSubstr("is no IP address")) << text;
  const auto range = AddressRange::parse("10.1.2.3/8");
  ASSERT_FALSE(range);
  EXPECT_THAT(render_error(range.error()), HasSubstr("the network is 10.0.0.0/8"));
}

TEST(AddressRange, AHostIsReachedByOneAddressOrAName) {
  for (const char* text : {"10.0.0.7", "fd00::7", "web1", "web_1.example", "1.example", "a-b"})
    EXPECT_TRUE(is_address_or_name(text)) << text;
  const std::string label(64, 'a');
  for (const std::string& text :
       {std::string(), std::string("1.1.1.1; reboot"), std::string("10.0.0.7\n"),
        std::string("10.0.0.7\0x", 10), std::string("10.0.0.0/8"), std::string("10.0.0.7/32"),
        std::string("-a"), std::string("a-"), std::string("a..b"), std::string("a."),
        std::string("fe80::1%eth0"), std::string("\x1b[31m"), label, std::string(300, '.'),
        std::string("10.0.0.256"), std::string("10.0.0"), std::string("7")})
    EXPECT_FALSE(is_address_or_name(text)) << text;
  EXPECT_THAT(canonical(std::string("10.0.0.7\0x", 10)), HasSubstr("is no IP address"));
}

TEST(AddressRange, WhatLiesInsideOthersIsLeftOut) {
  std::vector<AddressRange> ranges;
  for (const char* text : {"10.1.0.0/16", "10.0.0.7", "192.168.0.1", "10.0.0.0/8", "192.168.0.1",
                           "10.255.255.255", "11.0.0.0", "fd00::1", "fd00::/8", "::1"})
    ranges.push_back(AddressRange::parse(text).value());
  std::vector<std::string> left;
  for (const AddressRange& range : without_overlaps(std::move(ranges))) left.push_back(range.str());
  EXPECT_THAT(left, ElementsAre("10.0.0.0/8", "11.0.0.0", "192.168.0.1", "::1", "fd00::/8"));
}

}  // namespace
}  // namespace consort
