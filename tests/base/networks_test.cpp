#include "base/networks.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace tollgate::base;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("An address is of a network by its first bits, in either family and spelling") {
  const std::string texts[] = {"10.0.0.0/8", "192.168.7.0/25", "172.16.0.9", "fd00::/8", "2001:db8::1"};
  const auto networks = Networks::Parse(texts);
  REQUIRE(networks.ok());
  CHECK_FALSE(networks->empty());
  for (const char* inside :
       {"10.0.0.0", "10.255.255.255", "192.168.7.127", "172.16.0.9", "::ffff:10.1.2.3", "fdff::9", "2001:db8:0:0::1"}) {
    INFO(inside);
    CHECK(networks->Contains(ParseIp(inside).value()));
  }
  for (const char* outside : {"11.0.0.0", "9.255.255.255", "192.168.7.128", "172.16.0.8", "fe00::1", "2001:db8::2", "::1", "0.0.0.0"}) {
    INFO(outside);
    CHECK_FALSE(networks->Contains(ParseIp(outside).value()));
  }
  CHECK(Networks::Parse({})->empty());
  CHECK_FALSE(Networks::Parse({})->Contains(*ParseIp("10.0.0.1")));
}

TEST_CASE("Addresses are numeric, and have one spelling") {
  CHECK(FormatIp(ParseIp("::ffff:10.0.0.7").value()) == "10.0.0.7");
  CHECK(FormatIp(ParseIp("2001:DB8:0::0:1").value()) == "2001:db8::1");
  for (const char* none : {"", "localhost", "10.0.0", "10.0.0.7:80", "[::1]", "10.0.0.7 ", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0"}) {
    INFO(none);
    CHECK_FALSE(ParseIp(none).has_value());
  }
  CHECK_FALSE(ParseIp(std::string(5000, '1')).has_value());
}

TEST_CASE("What is no network, or everybody, is refused by name") {
  const std::pair<const char*, const char*> rows[] = {{"proxy.internal", "\"proxy.internal\" is no network"},
                                                      {"10.0.0.0/33", "is no network"},
                                                      {"10.0.0.0/", "is no network"},
                                                      {"10.0.0.0/8x", "is no network"},
                                                      {"::/129", "is no network"},
                                                      {"/8", "is no network"},
                                                      {"10.0.0.0/-1", "is no network"},
                                                      {"0.0.0.0/0", "is everybody"},
                                                      {"::/0", "is everybody"},
                                                      {"::ffff:0:0/96", "is everybody"},
                                                      {"::ffff:0.0.0.0/96", "is everybody"},
                                                      {"::/64", "is everybody"},
                                                      {"10.1.0.0/8", "write 10.0.0.0/8"},
                                                      {"fd00::1/8", "write fd00::/8"}};
  for (const auto& [text, refusal] : rows) {
    INFO(text);
    const std::string texts[] = {"127.0.0.1", text};
    const auto networks = Networks::Parse(texts);
    REQUIRE_FALSE(networks.ok());
    CHECK_THAT(Message(networks.status()), ContainsSubstring(refusal));
  }
}
