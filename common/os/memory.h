// Memory that the process holds and does not need.
#pragma once

// How malloc behaves; before the first thread.
void memory_configure(void);

// What malloc has free goes back to the system.
void memory_give_back(void);
