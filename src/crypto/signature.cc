#include "crypto/signature.h"
