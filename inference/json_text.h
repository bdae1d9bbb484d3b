// JSON as models and people write it: what a schema says of a value, as the letters that an answer is held to. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace tollgate::inference {

// Without white space. Numbers in the fewest digits that mean them, 0.25 and not 2.5E-1 as Boost.JSON writes it.
std::string JsonText(const boost::json::value& value);

// Whether a number in it is a whole one that 64 bits do not hold, so that its digits are lost, or infinite.
bool HoldsFarNumber(const boost::json::value& value);

}  // namespace tollgate::inference
