"""CTE correction of ACS/WFC, generation 3 (`Par/Serial PixelCTE 2023`): serial, then parallel, amp by amp."""
